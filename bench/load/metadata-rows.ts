/** Rows that change or ask for names and attributes. */
import { AT_FDCWD, close, O_DIRECTORY, O_RDONLY } from "../../src/platform/libc.ts";
import {
  allocateNative,
  getdentsAt,
  mkdiratAt,
  openatAt,
  renameat2At,
  statxAt,
  unlinkatAt,
} from "../../src/platform/native.ts";
import { chownAt, createEmpty, must, Names, settle } from "./calls.ts";
import { type Load, type LoadResult, type LoadRow, repeatFor } from "./load-request.ts";

/** As many files as the create row makes before it empties the folder. */
const CREATED_FILES_MAX = 10_000;
const FILES = 1000;
/** What stat(2) asks for. */
const STATX_BASIC_STATS = 0x7ff;
const STATX_BYTES = 256;
/** What the C library's readdir reads at once. */
const LISTING_BYTES = 32 << 10;
const ENTRY_LENGTH_AT = 16;
const PAUSE_MS = 50;

function pause(durationMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, durationMs);
}

/** New names in one folder, which is emptied now and then; the emptying does not count. */
function create({ folderFd, seconds }: Load): LoadResult {
  const names = new Names("c", 1);
  let operations = 0;
  let emptied = 0;
  let elapsedMs = 0;
  settle(folderFd);
  for (;;) {
    const started = performance.now();
    let batchMs = 0;
    do {
      createEmpty(folderFd, names.write(operations));
      operations += 1;
      batchMs = performance.now() - started;
    } while (elapsedMs + batchMs < seconds * 1000 && operations - emptied < CREATED_FILES_MAX);
    elapsedMs += batchMs;
    if (elapsedMs >= seconds * 1000) return { operations, seconds: elapsedMs / 1000 };
    for (; emptied < operations; emptied++) {
      must(unlinkatAt(folderFd, names.write(emptied), 0), "unlink");
    }
    settle(folderFd);
    pause(PAUSE_MS);
  }
}

function createAndUnlink({ folderFd, seconds }: Load): LoadResult {
  const names = new Names("c", 1);
  let next = 0;
  settle(folderFd);
  return repeatFor(seconds, () => {
    const name = names.write(next);
    next += 1;
    createEmpty(folderFd, name);
    must(unlinkatAt(folderFd, name, 0), "unlink");
    return 1;
  });
}

/** One file, to and fro between two names. */
function rename({ folderFd, seconds }: Load): LoadResult {
  const names = new Names("r", 2);
  const [one, other] = [names.write(1, 0), names.write(2, 1)];
  createEmpty(folderFd, one);
  settle(folderFd);
  return repeatFor(seconds, () => {
    must(renameat2At(folderFd, one, folderFd, other, 0), "rename");
    must(renameat2At(folderFd, other, folderFd, one, 0), "rename");
    return 2;
  });
}

function makeFiles(folderFd: number): Names {
  const names = new Names("f", FILES);
  for (let slot = 0; slot < FILES; slot++) createEmpty(folderFd, names.write(slot, slot));
  settle(folderFd);
  return names;
}

function stat({ folderFd, seconds }: Load): LoadResult {
  const names = makeFiles(folderFd);
  const out = allocateNative(STATX_BYTES).address;
  let next = 0;
  return repeatFor(seconds, () => {
    for (let count = 0; count < 50; count++) {
      must(statxAt(folderFd, names.at(next++ % FILES), 0, STATX_BASIC_STATS, out), "stat");
    }
    return 50;
  });
}

function open({ folderFd, seconds }: Load): LoadResult {
  const names = makeFiles(folderFd);
  let next = 0;
  return repeatFor(seconds, () => {
    for (let count = 0; count < 10; count++) {
      close(must(openatAt(folderFd, names.at(next++ % FILES), O_RDONLY, 0), "open"));
    }
    return 10;
  });
}

/** Each call is a real change. */
function chown({ folderFd, seconds }: Load): LoadResult {
  const names = makeFiles(folderFd);
  let next = 0;
  return repeatFor(seconds, () => {
    const owner = Math.floor(next / FILES) % 2 === 0 ? 1000 : 0;
    must(chownAt(folderFd, names.at(next % FILES), owner), "chown");
    next += 1;
    return 1;
  });
}

/** Whole listings of one large folder. */
function listing({ folderFd, workFolder, seconds, entries }: Load): LoadResult {
  const names = new Names("e", 2);
  const large = names.write(99_999_999, 1);
  must(mkdiratAt(folderFd, large, 0o755), "mkdir");
  const largeFd = must(openatAt(folderFd, large, O_RDONLY | O_DIRECTORY, 0), "open the folder");
  for (let number = 0; number < entries; number++) createEmpty(largeFd, names.write(number));
  settle(folderFd);
  close(largeFd);
  const path = new TextEncoder().encode(`${workFolder}/e99999999\0`);
  const memory = allocateNative(LISTING_BYTES + path.length);
  memory.bytes.set(path, LISTING_BYTES);
  const pathAddress = memory.address + LISTING_BYTES;
  return repeatFor(seconds, () => {
    const fd = must(openatAt(AT_FDCWD, pathAddress, O_RDONLY | O_DIRECTORY, 0), "open the folder");
    let found = 0;
    for (;;) {
      const length = must(getdentsAt(fd, memory.address, LISTING_BYTES), "getdents");
      if (length === 0) break;
      for (let at = 0; at < length; found++) {
        at += memory.view.getUint16(at + ENTRY_LENGTH_AT, true);
      }
    }
    close(fd);
    if (found !== entries + 2) throw new Error(`${found} entries instead of ${entries + 2}`);
    return 1;
  });
}

export const METADATA_ROWS: Readonly<Record<string, LoadRow>> = {
  create,
  "create-unlink": createAndUnlink,
  rename,
  stat,
  open,
  chown,
  readdir: listing,
};
