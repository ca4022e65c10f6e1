/**
 * Small files and folders of our own: state, records, logs. Nothing here touches protected data.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname } from "node:path";

export { closeSync, existsSync };

/** A folder that only root may enter, with those above it. */
export function makePrivateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
}

/** Whether others than the owner may read, write or enter. */
export function isOpenToOthers(path: string): boolean {
  return (statSync(path).mode & 0o077) !== 0;
}

export function makeTemporaryFolder(prefix: string): string {
  return mkdtempSync(`${tmpdir()}/${prefix}`);
}

/** Whole or not at all, also after a power cut. */
export function writeFileAtomic(path: string, text: string): void {
  const temporary = `${path}.new`;
  const fd = openSync(temporary, "w", 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
  syncFolder(dirname(path));
}

/** Until then a power cut may bring back what had the name before. */
function syncFolder(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function writeSmallFile(path: string, text: string): void {
  const fd = openSync(path, "w", 0o600);
  writeSync(fd, text);
  closeSync(fd);
}

/** A new file whose bytes are on the disk when this returns. */
export function writeFileDurably(path: string, text: string): void {
  const fd = openSync(path, "wx", 0o644);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function renameFile(from: string, to: string): void {
  renameSync(from, to);
}

export function makeFolder(path: string): void {
  mkdirSync(path, { recursive: true });
}

export function appendLine(fd: number, line: string): void {
  writeSync(fd, `${line}\n`);
}

/** Undefined when there is no such file. */
export function readTextIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR")) return undefined;
    throw error;
  }
}

/** Undefined when there is none, or it holds no JSON (written by a program that was killed). */
export function readJsonIfPresent(path: string): unknown {
  const text = readTextIfPresent(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Only a folder that is empty; anything else stays. */
export function removeEmptyFolder(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // It is in use by now.
  }
}

export function removeTree(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

/** Names in a folder; none when it does not exist. */
export function listNames(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

/** For the output of a child: each line lands whole at the end, whoever writes it. */
export function openForAppend(path: string): number {
  return openSync(path, "a", 0o600);
}

/** Bytes; undefined when there is no such file. */
export function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

/** What was added to the file behind `position`, at most `bytesMax` of it. */
export function readFrom(path: string, position: number, bytesMax: number): Buffer {
  const fd = openSync(path, "r");
  try {
    const size = fstatSync(fd).size;
    const buffer = Buffer.alloc(Math.max(0, Math.min(size - position, bytesMax)));
    return buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, position));
  } finally {
    closeSync(fd);
  }
}

export function emptyFile(path: string): void {
  const fd = openSync(path, "a", 0o600);
  ftruncateSync(fd, 0);
  closeSync(fd);
}

/** @throws when there is no such path. */
export function realPath(path: string): string {
  return realpathSync(path);
}

export interface FileIdentity {
  readonly device: number;
  readonly inode: number;
  readonly isDirectory: boolean;
}

export function fileIdentity(path: string): FileIdentity {
  const status = statSync(path);
  return { device: status.dev, inode: status.ino, isDirectory: status.isDirectory() };
}

export interface Space {
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly usedBytes: number;
}

/** Of the file system that holds `path`. */
export function spaceOf(path: string): Space {
  const status = statfsSync(path);
  return {
    totalBytes: status.blocks * status.bsize,
    freeBytes: status.bavail * status.bsize,
    usedBytes: (status.blocks - status.bfree) * status.bsize,
  };
}

/** A short name for a path: the same path gives the same name. */
export function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}

export function hasCode(error: unknown, code: string): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === code;
}
