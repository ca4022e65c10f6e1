/**
 * The files of an append-only log in one folder, and what of them survives a power cut. The
 * in-memory twin, which loses what was not synced, is {@link file://./memory-log-files.ts}.
 */
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, statfs, unlink } from "node:fs/promises";

import { PAGE_BYTES } from "../base/bytes.ts";
import { isWholePages } from "./page-memory.ts";

/** One open file. Operations reject with the system's error, whose `code` tells which. */
export interface LogFile {
  /** Fills `into` from `position` as far as there are bytes; how many there were. */
  read(into: Uint8Array, position: number): Promise<number>;
  /**
   * Writes the pieces one behind the other. When it rejects, any part of them may be written. Whole
   * pages of {@link file://./page-memory.ts} at a page's start in the file take the way around the
   * page cache where there is one.
   */
  write(pieces: readonly Uint8Array[], position: number): Promise<void>;
  /** Cuts or extends (with zeros) to `bytes`. */
  truncate(bytes: number): Promise<void>;
  size(): Promise<number>;
  /**
   * What was written and the size are on the disk when it resolves; not the file's name. When it
   * rejects, nothing is known of what was written since the last time it resolved, and calling it
   * again does not tell either: the kernel may have dropped the bytes.
   */
  syncData(): Promise<void>;
  close(): Promise<void>;
}

/** One folder. */
export interface LogFiles {
  list(): Promise<string[]>;
  /** An empty file, in place of one that has the name already. */
  create(name: string): Promise<LogFile>;
  open(name: string): Promise<LogFile>;
  /** Replaces a file that has the name `to`. */
  rename(from: string, to: string): Promise<void>;
  remove(name: string): Promise<void>;
  /** Names created, renamed and removed are on the disk when it resolves. */
  syncFolder(): Promise<void>;
  /** Bytes that may still be written to the file system. */
  freeBytes(): Promise<number>;
}

/** The folder at `path`, which is made when it does not exist; only its owner may enter it. */
export async function folderLogFiles(path: string): Promise<LogFiles> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  return new FolderLogFiles(path);
}

class FolderLogFiles implements LogFiles {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  list(): Promise<string[]> {
    return readdir(this.#path);
  }

  async create(name: string): Promise<LogFile> {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_TRUNC;
    return new DiskLogFile(await open(this.#at(name), flags, 0o600));
  }

  async open(name: string): Promise<LogFile> {
    return new DiskLogFile(await open(this.#at(name), constants.O_RDWR));
  }

  rename(from: string, to: string): Promise<void> {
    return rename(this.#at(from), this.#at(to));
  }

  remove(name: string): Promise<void> {
    return unlink(this.#at(name));
  }

  async syncFolder(): Promise<void> {
    const folder = await open(this.#path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  async freeBytes(): Promise<number> {
    const status = await statfs(this.#path);
    return status.bavail * status.bsize;
  }

  #at(name: string): string {
    return `${this.#path}/${name}`;
  }
}

/** The kernel takes at most 1024 pieces a call (IOV_MAX). */
const PIECES_MAX = 1024;

class DiskLogFile implements LogFile {
  readonly #handle: FileHandle;
  /** For what goes around the page cache; null when the file system has no such way. */
  #direct: FileHandle | null | undefined;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let filled = 0;
    while (filled < into.length) {
      const rest = into.length - filled;
      const { bytesRead } = await this.#handle.read(into, filled, rest, position + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return filled;
  }

  async write(pieces: readonly Uint8Array[], position: number): Promise<void> {
    for (let at = position, first = 0; first < pieces.length; ) {
      const isDirect = isForDirect(pieces[first] as Uint8Array, at);
      let end = at;
      let next = first;
      while (next < pieces.length && next - first < PIECES_MAX) {
        const piece = pieces[next] as Uint8Array;
        if (isForDirect(piece, end) !== isDirect) break;
        end += piece.length;
        next += 1;
      }
      const run = pieces.slice(first, next);
      if (!isDirect || !(await this.#writeDirect(run, at))) {
        await writeAll(this.#handle, run, at);
      }
      [at, first] = [end, next];
    }
  }

  /** False: there is no such way, and any part may be written. */
  async #writeDirect(pieces: readonly Uint8Array[], position: number): Promise<boolean> {
    if (this.#direct === undefined) this.#direct = await openDirect(this.#handle.fd);
    if (this.#direct === null) return false;
    try {
      await writeAll(this.#direct, pieces, position);
      return true;
    } catch (error) {
      if (!REFUSES_DIRECT.has((error as NodeJS.ErrnoException).code)) throw error;
      await this.#closeDirect();
      return false;
    }
  }

  async #closeDirect(): Promise<void> {
    const direct = this.#direct;
    this.#direct = null;
    await direct?.close();
  }

  truncate(bytes: number): Promise<void> {
    return this.#handle.truncate(bytes);
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  syncData(): Promise<void> {
    return this.#handle.datasync();
  }

  async close(): Promise<void> {
    try {
      await this.#closeDirect();
    } finally {
      await this.#handle.close();
    }
  }
}

function isForDirect(piece: Uint8Array, position: number): boolean {
  return position % PAGE_BYTES === 0 && isWholePages(piece);
}

/**
 * Of a write: the file's blocks are larger than a page, the disk filled up within one, or the file
 * system has learned only now that it cannot.
 */
const REFUSES_DIRECT: ReadonlySet<string | undefined> = new Set(["EINVAL", "EOPNOTSUPP"]);

/**
 * The same file once more. Null, whatever the reason: its file system cannot (some network file
 * systems, tmpfs before Linux 6.6), or there is no descriptor left. What is wrong with the file
 * itself the other way tells.
 */
async function openDirect(fd: number): Promise<FileHandle | null> {
  try {
    return await open(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_DIRECT);
  } catch {
    return null;
  }
}

/** The kernel may take less than all, for example what still fits before the disk is full. */
async function writeAll(
  handle: FileHandle,
  pieces: readonly Uint8Array[],
  position: number,
): Promise<void> {
  let rest = pieces;
  let written = 0;
  while (rest.length > 0) {
    const { bytesWritten } = await handle.writev(rest, position + written);
    if (bytesWritten === 0) throw Object.assign(new Error("nothing written"), { code: "EIO" });
    written += bytesWritten;
    rest = withoutFirst(rest, bytesWritten);
  }
}

function withoutFirst(pieces: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let skip = bytes;
  let index = 0;
  while (index < pieces.length && skip >= (pieces[index] as Uint8Array).length) {
    skip -= (pieces[index] as Uint8Array).length;
    index++;
  }
  const rest = pieces.slice(index);
  if (skip > 0) rest[0] = (rest[0] as Uint8Array).subarray(skip);
  return rest;
}
