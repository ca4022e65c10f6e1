/** System calls that only the tests make. Results as in libc.ts. */
import koffi from "koffi";
import { mmapShared, munmap, viewOf } from "../../src/platform/libc.ts";

const libc = koffi.load("libc.so.6");
const flock_ = libc.func("int flock(int, int)");
const fcntl_ = libc.func("int fcntl(int, int, void*)");
const setgroups_ = libc.func("int setgroups(size_t, const void*)");
const msync_ = libc.func("int msync(void*, size_t, int)");
const syncFileRange_ = libc.func("int sync_file_range(int, int64_t, int64_t, uint32_t)");
const access_ = libc.func("int faccessat(int, const void*, int, int)");
const umask_ = libc.func("uint32_t umask(uint32_t)");

function checked(result: number): number {
  return result === -1 ? -koffi.errno() : result;
}

export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const LOCK_UN = 8;

export function flock(fd: number, operation: number): number {
  return checked(flock_(fd, operation));
}

export const F_RDLCK = 0;
export const F_WRLCK = 1;
export const F_UNLCK = 2;
export const F_GETLK = 5;
export const F_SETLK = 6;
export const F_OFD_SETLK = 37;

/** A record lock; the type that F_GETLK found, or `-errno`. */
export function recordLock(
  fd: number,
  command: number,
  lock: { type: number; start: number; length: number },
): number {
  const struct = Buffer.alloc(32);
  struct.writeInt16LE(lock.type, 0);
  struct.writeBigInt64LE(BigInt(lock.start), 8);
  struct.writeBigInt64LE(BigInt(lock.length), 16);
  const result = checked(fcntl_(fd, command, struct));
  return result < 0 ? result : struct.readInt16LE(0);
}

/** Shared memory over a file; dead after `unmap`. */
export interface Mapping {
  readonly bytes: Uint8Array;
  unmap(): void;
}

const MS_SYNC = 4;

export function mapFile(fd: number, size: number): Mapping {
  const address = mmapShared(fd, size);
  return {
    bytes: new Uint8Array(viewOf(address, size)),
    unmap() {
      msync_(address, size, MS_SYNC);
      munmap(address, size);
    },
  };
}

export function syncFileRange(fd: number, offset: number, length: number): number {
  return checked(syncFileRange_(fd, offset, length, 7));
}

export function access(path: Uint8Array, mode: number): number {
  return checked(access_(-100, path, mode, 0));
}

export function umask(mask: number): number {
  return umask_(mask);
}

/** Becomes another user for good. */
export function becomeUser(id: number): void {
  if (setgroups_(0, null) < 0) throw new Error("setgroups");
  process.setgid?.(id);
  process.setuid?.(id);
}
