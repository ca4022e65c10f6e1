/** Rows that move data. */
import { closeSync, openSync, writeSync } from "node:fs";

import {
  close,
  fdatasync,
  fsync,
  mmapShared,
  munmap,
  viewOf,
  O_CREAT,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
} from "../../src/platform/libc.ts";
import { allocateNative, openatAt, preadAt, pwriteAt } from "../../src/platform/native.ts";
import { msyncAt, must, Names, noise, randomNumbers, settle, syncAll } from "./calls.ts";
import { type Load, type LoadResult, type LoadRow, repeatFor } from "./load-request.ts";

const MIB = 1 << 20;
const PAGE = 4096;
const PIECE = 128 << 10;
/** Rows that flush or map work in a smaller file. */
const SMALL_FILE_BYTES = 64 * MIB;
const MAPPED_FILE_BYTES = 256 * MIB;

const names = new Names("d", 1);
const data = noise(MIB);

/** A file of `size` written bytes, on the disk. */
function makeFile({ folderFd }: Load, size: number): number {
  const name = names.write(0);
  const fd = must(openatAt(folderFd, name, O_CREAT | O_EXCL | O_RDWR, 0o644), "create the file");
  for (let at = 0; at < size; at += MIB) {
    const length = Math.min(MIB, size - at);
    if (must(pwriteAt(fd, data.address, length, at), "fill the file") !== length) {
      throw new Error("fill the file: short write");
    }
  }
  must(fsync(fd), "fsync");
  settle(folderFd);
  return fd;
}

/** Writes the page to a random place of the file. */
function pageWriter(fd: number, fileBytes: number): () => void {
  const pages = Math.floor(fileBytes / PAGE);
  const random = randomNumbers();
  return () => {
    const from = data.address + (random() % 255) * PAGE;
    if (pwriteAt(fd, from, PAGE, (random() % pages) * PAGE) !== PAGE) throw new Error("pwrite");
  };
}

function writeRandom(load: Load): LoadResult {
  const fd = makeFile(load, load.fileBytes);
  const write = pageWriter(fd, load.fileBytes);
  const result = repeatFor(load.seconds, () => {
    for (let count = 0; count < 8; count++) write();
    return 8;
  });
  close(fd);
  return result;
}

function writeAndFlush(load: Load): LoadResult {
  const size = Math.min(load.fileBytes, SMALL_FILE_BYTES);
  const fd = makeFile(load, size);
  const write = pageWriter(fd, size);
  const result = repeatFor(load.seconds, () => {
    write();
    must(fdatasync(fd), "fdatasync");
    return 1;
  });
  close(fd);
  return result;
}

function writeSequential(load: Load): LoadResult {
  const fd = makeFile(load, 0);
  const pieces = Math.max(1, Math.floor(load.fileBytes / PIECE));
  let next = 0;
  const result = repeatFor(load.seconds, () => {
    const from = data.address + (next % 7) * PIECE;
    if (pwriteAt(fd, from, PIECE, (next % pieces) * PIECE) !== PIECE) throw new Error("pwrite");
    next += 1;
    return 1;
  });
  close(fd);
  return result;
}

function readCached(load: Load): LoadResult {
  const size = Math.min(load.fileBytes, SMALL_FILE_BYTES);
  const fd = makeFile(load, size);
  const into = allocateNative(MIB).address;
  for (let at = 0; at < size; at += MIB) must(preadAt(fd, into, MIB, at), "warm the cache");
  const random = randomNumbers();
  const pages = Math.floor(size / PAGE);
  const result = repeatFor(load.seconds, () => {
    for (let count = 0; count < 32; count++) {
      if (preadAt(fd, into, PAGE, (random() % pages) * PAGE) !== PAGE) throw new Error("pread");
    }
    return 32;
  });
  close(fd);
  return result;
}

function dropCaches(): void {
  syncAll();
  const fd = openSync("/proc/sys/vm/drop_caches", "w");
  writeSync(fd, "3");
  closeSync(fd);
}

/** The file as a whole, again and again; only the reading counts. */
function readCold(load: Load): LoadResult {
  close(makeFile(load, load.fileBytes));
  const into = allocateNative(PIECE).address;
  let operations = 0;
  let elapsedMs = 0;
  while (elapsedMs < load.seconds * 1000) {
    dropCaches();
    const started = performance.now();
    const fd = must(openatAt(load.folderFd, names.write(0), O_RDONLY, 0), "open");
    for (let at = 0; at + PIECE <= load.fileBytes; at += PIECE) {
      if (preadAt(fd, into, PIECE, at) !== PIECE) throw new Error("pread");
      operations += 1;
    }
    close(fd);
    elapsedMs += performance.now() - started;
  }
  return { operations, seconds: elapsedMs / 1000 };
}

/** Stores into a shared mapping; writing it back at the end is part of it. */
function writeMapped(load: Load): LoadResult {
  const size = Math.min(load.fileBytes, MAPPED_FILE_BYTES);
  const fd = makeFile(load, size);
  const address = mmapShared(fd, size);
  const mapped = new Uint8Array(viewOf(address, size));
  const random = randomNumbers();
  const pages = Math.floor(size / PAGE);
  const started = performance.now();
  const { operations } = repeatFor(load.seconds, () => {
    for (let count = 0; count < 8; count++) {
      const from = (random() % 255) * PAGE;
      mapped.set(data.bytes.subarray(from, from + PAGE), (random() % pages) * PAGE);
    }
    return 8;
  });
  must(msyncAt(address, size), "msync");
  const seconds = (performance.now() - started) / 1000;
  munmap(address, size);
  close(fd);
  return { operations, seconds };
}

export const DATA_ROWS: Readonly<Record<string, LoadRow>> = {
  "write-4k-random": writeRandom,
  "write-4k-fdatasync": writeAndFlush,
  "write-128k-sequential": writeSequential,
  "read-4k-cached": readCached,
  "read-cold-sequential": readCold,
  "mmap-write": writeMapped,
};
