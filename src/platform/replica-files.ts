/**
 * Calls for a tree of files that others may have tampered with: nothing here follows a symlink or
 * leaves the tree whose root descriptor it is given. Results follow libc.ts: a number, negative for
 * `-errno`.
 */
import koffi from "koffi";
import {
  AT_FDCWD,
  close,
  cString,
  fgetxattr,
  flistxattr,
  fstatfs,
  getdents64,
  getxattr,
  ioctl,
  lseek,
  listxattr,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  openat,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  SEEK_SET,
  utimensat,
  AT_SYMLINK_NOFOLLOW,
  UTIME_OMIT,
} from "./libc.ts";

/** The C library's `utimensat` refuses a null path, and an empty one asks for linux 5.8. */
const futimens_ = koffi.load("libc.so.6").func("int futimens(int, const void*)");

const RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
/** One step of a walk; below PATH_MAX with room for the NUL. */
const STEP_BYTES_MAX = 4000;

/**
 * Opens the directory that `names` lead to below `dir`, in as many steps as the kernel's limit on
 * paths asks for.
 */
export function openDirectoryBeneath(dir: number, names: readonly Uint8Array[]): number {
  let at = dir;
  let index = 0;
  do {
    const parts: Uint8Array[] = [];
    let length = 0;
    while (index < names.length && length + names[index]!.length < STEP_BYTES_MAX) {
      const name = names[index] as Uint8Array;
      if (parts.length > 0) parts.push(SLASH);
      parts.push(name);
      length += name.length + 1;
      index += 1;
    }
    const path = parts.length === 0 ? DOT : Buffer.concat([...parts, NUL]);
    const next = openat2(at, path, {
      flags: O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
      resolve: RESOLVE,
    });
    if (at !== dir) close(at);
    if (next < 0) return next;
    at = next;
  } while (index < names.length);
  return at;
}

const SLASH = Uint8Array.of(0x2f);
const NUL = Uint8Array.of(0);
const DOT = Uint8Array.of(0x2e, 0);

/**
 * Opens a folder given by its path, once, at the start; symlinks on the way to it are the
 * administrator's.
 */
export function openRoot(path: string): number {
  return openat(AT_FDCWD, cString(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/** The node behind a descriptor as a path, for calls that know no descriptors of kind `O_PATH`. */
export function procPath(fd: number): Uint8Array {
  return cString(`/proc/self/fd/${fd}`);
}

export interface RawEntry {
  readonly name: Uint8Array;
  /** As in `st_mode >> 12`, 0 when the file system does not tell. */
  readonly type: number;
  readonly ino: number;
}

const direntBuffer = Buffer.alloc(256 << 10);

/** Calls `each` for every entry but `.` and `..`. Returns 0 or `-errno`. Not to be nested. */
export function readDirectory(fd: number, each: (entry: RawEntry) => void): number {
  const start = lseek(fd, 0, SEEK_SET);
  if (start < 0) return start;
  for (;;) {
    const got = getdents64(fd, direntBuffer, direntBuffer.length);
    if (got <= 0) return got;
    for (let at = 0; at < got; ) {
      const size = direntBuffer.readUInt16LE(at + 16);
      const end = direntBuffer.indexOf(0, at + 19);
      const name = Uint8Array.prototype.slice.call(direntBuffer, at + 19, end) as Uint8Array;
      const ino = Number(direntBuffer.readBigUInt64LE(at));
      if (!isDots(name)) each({ name, type: direntBuffer[at + 18] as number, ino });
      at += size;
    }
  }
}

/** False also for what cannot be read. */
export function isEmptyDirectory(fd: number): boolean {
  let isEmpty = true;
  const result = readDirectory(fd, () => {
    isEmpty = false;
  });
  return result === 0 && isEmpty;
}

function isDots(name: Uint8Array): boolean {
  if (name[0] !== 0x2e) return false;
  return name.length === 1 || (name.length === 2 && name[1] === 0x2e);
}

const timesBuffer = Buffer.alloc(32);

export interface Time {
  readonly sec: number;
  readonly nsec: number;
}

/** Sets the times of an open node; an undefined one stays. */
export function setTimes(fd: number, atime: Time | undefined, mtime: Time | undefined): number {
  fillTimes(atime, mtime);
  const result = futimens_(fd, timesBuffer) as number;
  return result === -1 ? -koffi.errno() : result;
}

export interface TimesToSet {
  readonly atime?: Time | undefined;
  readonly mtime?: Time | undefined;
  /** For links in /proc, which lead to a node that is open. */
  readonly follow?: boolean;
}

/** As {@link setTimes}, of the entry `name` itself, never of what it leads to. */
export function setTimesAt(dir: number, name: Uint8Array, times: TimesToSet): number {
  fillTimes(times.atime, times.mtime);
  return utimensat(dir, name, timesBuffer, times.follow === true ? 0 : AT_SYMLINK_NOFOLLOW);
}

function fillTimes(atime: Time | undefined, mtime: Time | undefined): void {
  fillTime(0, atime);
  fillTime(16, mtime);
}

function fillTime(at: number, time: Time | undefined): void {
  timesBuffer.writeBigInt64LE(BigInt(time?.sec ?? 0), at);
  timesBuffer.writeBigInt64LE(BigInt(time?.nsec ?? UTIME_OMIT), at + 8);
}

const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
const flagsBuffer = Buffer.alloc(8);
const fsxattrBuffer = Buffer.alloc(28);

export const FS_IMMUTABLE_FL = 0x10;
export const FS_APPEND_FL = 0x20;
/**
 * Flags that a user sets: sync, immutable, append, no dump, no atime, dirsync, top of tree, no
 * copy-on-write, project.
 */
export const INODE_FLAGS_MASK = 0x208300f8;

/** Inode flags of an open file or directory. */
export function getInodeFlags(fd: number): number {
  const result = ioctl(fd, FS_IOC_GETFLAGS, flagsBuffer);
  return result < 0 ? result : flagsBuffer.readUInt32LE(0);
}

export function setInodeFlags(fd: number, flags: number): number {
  flagsBuffer.writeUInt32LE(flags >>> 0, 0);
  return ioctl(fd, FS_IOC_SETFLAGS, flagsBuffer);
}

export function getProjectId(fd: number): number {
  const result = ioctl(fd, FS_IOC_FSGETXATTR, fsxattrBuffer);
  return result < 0 ? result : fsxattrBuffer.readUInt32LE(12);
}

export function setProjectId(fd: number, projectId: number): number {
  const result = ioctl(fd, FS_IOC_FSGETXATTR, fsxattrBuffer);
  if (result < 0) return result;
  fsxattrBuffer.writeUInt32LE(projectId, 12);
  return ioctl(fd, FS_IOC_FSSETXATTR, fsxattrBuffer);
}

const listBuffer = Buffer.alloc(64 << 10);
const valueBuffer = Buffer.alloc(64 << 10);

/** Names of the extended attributes; empty also where there is no such thing. */
export function xattrNames(fd: number, isPathOnly: boolean): Uint8Array[] {
  const got = isPathOnly
    ? listxattr(procPath(fd), listBuffer, listBuffer.length)
    : flistxattr(fd, listBuffer, listBuffer.length);
  const names: Uint8Array[] = [];
  for (let at = 0; at < got; ) {
    const end = listBuffer.indexOf(0, at);
    names.push(Uint8Array.prototype.slice.call(listBuffer, at, end) as Uint8Array);
    at = end + 1;
  }
  return names;
}

/** Undefined when the node has no such attribute. */
export function xattrValue(
  fd: number,
  name: Uint8Array,
  isPathOnly: boolean,
): Uint8Array | undefined {
  const got = isPathOnly
    ? getxattr(procPath(fd), cString(name), valueBuffer, valueBuffer.length)
    : fgetxattr(fd, cString(name), valueBuffer, valueBuffer.length);
  if (got < 0) return undefined;
  return Uint8Array.prototype.slice.call(valueBuffer, 0, got) as Uint8Array;
}

const statfsBuffer = Buffer.alloc(128);

/** Bytes that are free to use on the file system of an open node. */
export function freeBytesOf(fd: number): number {
  if (fstatfs(fd, statfsBuffer) < 0) return 0;
  return Number(statfsBuffer.readBigInt64LE(32)) * Number(statfsBuffer.readBigInt64LE(8));
}
