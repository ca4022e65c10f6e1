/**
 * A file of pieces of other files, whole or refused: each piece has a hash, and the description of
 * all of them, with a hash of its own, comes last. Made for copying sparse memory to a disk and
 * back.
 *
 *     the pieces' bytes, one behind the other
 *     description       JSON
 *     16 bytes          XXH3-128 of the description
 *     u32               bytes of the description
 *     8 bytes           "STDNPACK"
 *
 * The new file stands beside the old one as `<path>.new` until {@link sealPacked} puts it in place.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { equalBytes } from "../base/bytes.ts";
import { BLOCK_HASH_BYTES, blockHash } from "./hash.ts";

const MAGIC = Buffer.from("STDNPACK");
const TAIL_BYTES = BLOCK_HASH_BYTES + 4 + MAGIC.length;
const PIECE_BYTES = 1 << 20;
const DESCRIPTION_BYTES_MAX = 64 << 20;
const ZEROS = Buffer.alloc(PIECE_BYTES);

/** What of one file goes into the pack. */
export interface PackedSource {
  readonly name: string;
  /** Of the whole file; what no part covers is zeros. */
  readonly fileBytes: number;
  readonly parts: readonly { readonly offset: number; readonly bytes: Uint8Array }[];
}

interface Piece {
  readonly offset: number;
  readonly length: number;
  readonly hash: string;
}

interface Description {
  readonly head: unknown;
  readonly files: readonly {
    readonly name: string;
    readonly fileBytes: number;
    readonly pieces: readonly Piece[];
  }[];
}

/** The file is not one that {@link writePacked} has finished, or its bytes have changed since. */
export class PackedFileError extends Error {
  override readonly name = "PackedFileError";
}

/**
 * Writes `<path>.new`, which is not on the disk yet when this returns. `head`: JSON, for
 * {@link packedHead}. Returns the bytes written. @throws what the file system says
 */
export function writePacked(path: string, head: unknown, sources: readonly PackedSource[]): number {
  const fd = openSync(`${path}.new`, "w", 0o600);
  try {
    let at = 0;
    const files = sources.map(({ name, fileBytes, parts }) => {
      const pieces: Piece[] = [];
      for (const { offset, bytes } of parts) {
        for (let from = 0; from < bytes.length; from += PIECE_BYTES) {
          const piece = bytes.subarray(from, from + PIECE_BYTES);
          if (Buffer.compare(piece, ZEROS.subarray(0, piece.length)) === 0) continue;
          writeAll(fd, piece, at);
          at += piece.length;
          const hash = hex(blockHash(piece));
          pieces.push({ offset: offset + from, length: piece.length, hash });
        }
      }
      return { name, fileBytes, pieces };
    });
    const description = Buffer.from(JSON.stringify({ head, files } satisfies Description));
    const length = Buffer.alloc(4);
    length.writeUInt32LE(description.length, 0);
    const tail = Buffer.concat([description, blockHash(description), length, MAGIC]);
    writeAll(fd, tail, at);
    return at + tail.length;
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(fd, bytes, done, bytes.length - done, position + done);
  }
}

/**
 * Puts `<path>.new` in the place of `path`, durably: after a power cut there is the one or the
 * other. @throws what the file system says; then `path` is as it was, or the new one
 */
export async function sealPacked(path: string): Promise<void> {
  await synced(`${path}.new`);
  renameSync(`${path}.new`, path);
  await synced(dirname(path));
}

/** Removes the file, durably. Nothing happens when there is none. */
export async function removePacked(path: string): Promise<void> {
  rmSync(`${path}.new`, { force: true });
  rmSync(path, { force: true });
  await synced(dirname(path));
}

async function synced(path: string): Promise<void> {
  const handle: FileHandle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** What {@link writePacked} was given as head; undefined when there is no whole description. */
export function packedHead(path: string): unknown {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return undefined;
  }
  try {
    return readDescription(fd, path).head;
  } catch (error) {
    if (error instanceof PackedFileError) return undefined;
    throw error;
  } finally {
    closeSync(fd);
  }
}

/**
 * Makes the files in `folder` again. @throws {PackedFileError}, or what the file system says: some
 * may have been made
 */
export function unpack(path: string, folder: string): void {
  const fd = openSync(path, "r");
  try {
    const { files } = readDescription(fd, path);
    let at = 0;
    for (const { name, fileBytes, pieces } of files) {
      const target = openSync(`${folder}/${name}`, "w", 0o600);
      try {
        ftruncateSync(target, fileBytes);
        for (const piece of pieces) {
          writeAll(target, readPiece(fd, at, piece, path), piece.offset);
          at += piece.length;
        }
      } finally {
        closeSync(target);
      }
    }
  } finally {
    closeSync(fd);
  }
}

function readPiece(fd: number, at: number, { length, hash }: Piece, path: string): Buffer {
  const bytes = readExactly(fd, at, length, path);
  if (hex(blockHash(bytes)) !== hash) throw new PackedFileError(`${path}: bytes at ${at} changed`);
  return bytes;
}

function readDescription(fd: number, path: string): Description {
  const { size } = fstatSync(fd);
  if (size < TAIL_BYTES) throw new PackedFileError(`${path} is cut`);
  const tail = readExactly(fd, size - TAIL_BYTES, TAIL_BYTES, path);
  const length = tail.readUInt32LE(BLOCK_HASH_BYTES);
  const isOurs = MAGIC.equals(tail.subarray(BLOCK_HASH_BYTES + 4));
  if (!isOurs || length > Math.min(size - TAIL_BYTES, DESCRIPTION_BYTES_MAX)) {
    throw new PackedFileError(`${path} has no description`);
  }
  const bytes = readExactly(fd, size - TAIL_BYTES - length, length, path);
  if (!equalBytes(blockHash(bytes), tail.subarray(0, BLOCK_HASH_BYTES))) {
    throw new PackedFileError(`${path}: its description has changed`);
  }
  return JSON.parse(bytes.toString()) as Description;
}

function readExactly(fd: number, position: number, length: number, path: string): Buffer {
  const bytes = Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const got = readSync(fd, bytes, done, length - done, position + done);
    if (got === 0) throw new PackedFileError(`${path} is cut`);
    done += got;
  }
  return bytes;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
