/**
 * System calls on memory by address, for the paths that run per file system request: no view object
 * is made per call, and names are used where the kernel put them. Results as in libc.ts: the
 * kernel's, or `-errno`.
 *
 * An address is a plain number (user addresses are below 2^47). The caller answers for the memory
 * behind it.
 */
import koffi from "koffi";
import type { SharedMemory } from "./shared-memory.ts";

const libc = koffi.load("libc.so.6");

const read_ = libc.func("intptr_t read(int, int64_t, size_t)");
const write_ = libc.func("intptr_t write(int, int64_t, size_t)");
const pread_ = libc.func("intptr_t pread(int, int64_t, size_t, int64_t)");
const preadv2_ = libc.func("intptr_t preadv2(int, int64_t, int, int64_t, int)");
const pwrite_ = libc.func("intptr_t pwrite(int, int64_t, size_t, int64_t)");
const statx_ = libc.func("int statx(int, int64_t, int, uint32_t, int64_t)");
const clockGettime_ = libc.func("int clock_gettime(int, int64_t)");
const nameToHandle_ = libc.func("int name_to_handle_at(int, int64_t, int64_t, int64_t, int)");
const openByHandle_ = libc.func("int open_by_handle_at(int, int64_t, int)");
const openat_ = libc.func("int openat(int, int64_t, int, uint32_t)");
const mknodat_ = libc.func("int mknodat(int, int64_t, uint32_t, uint64_t)");
const mkdirat_ = libc.func("int mkdirat(int, int64_t, uint32_t)");
const symlinkat_ = libc.func("int symlinkat(int64_t, int, int64_t)");
const linkat_ = libc.func("int linkat(int, int64_t, int, int64_t, int)");
const unlinkat_ = libc.func("int unlinkat(int, int64_t, int)");
const renameat2_ = libc.func("int renameat2(int, int64_t, int, int64_t, uint32_t)");
const readlinkat_ = libc.func("intptr_t readlinkat(int, int64_t, int64_t, size_t)");
const fgetxattr_ = libc.func("intptr_t fgetxattr(int, int64_t, int64_t, size_t)");
const fsetxattr_ = libc.func("int fsetxattr(int, int64_t, int64_t, size_t, int)");
const flistxattr_ = libc.func("intptr_t flistxattr(int, int64_t, size_t)");
const fremovexattr_ = libc.func("int fremovexattr(int, int64_t)");
const getxattr_ = libc.func("intptr_t getxattr(int64_t, int64_t, int64_t, size_t)");
const setxattr_ = libc.func("int setxattr(int64_t, int64_t, int64_t, size_t, int)");
const listxattr_ = libc.func("intptr_t listxattr(int64_t, int64_t, size_t)");
const removexattr_ = libc.func("int removexattr(int64_t, int64_t)");
const poll_ = libc.func("int poll(int64_t, uint64_t, int)");
const schedYield_ = libc.func("int sched_yield()");
const ioctl_ = libc.func("int ioctl(int, uint64_t, int64_t)");
const copyFileRange_ = libc.func(
  "intptr_t copy_file_range(int, int64_t, int, int64_t, size_t, uint32_t)",
);
const fadvise_ = libc.func("int posix_fadvise(int, int64_t, int64_t, int)");
const madvise_ = libc.func("int madvise(int64_t, size_t, int)");
const getdents_ = libc.func("syscall", "int64_t", ["int64_t", "int64_t", "int64_t", "uint64_t"]);
const mmapAnonymous_ = libc.func("void* mmap(void*, size_t, int, int, int, int64_t)");

const SYS_GETDENTS64 = 217;

function checked(result: number): number {
  return result === -1 ? -koffi.errno() : result;
}

/** Memory that has an address. The three views see the same bytes. */
export interface NativeMemory {
  readonly address: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;

/**
 * Zeroed memory of this process, never given back: for buffers that live as long as their thread.
 */
export function allocateNative(size: number): NativeMemory {
  const pointer = mmapAnonymous_(null, size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  const buffer = koffi.view(pointer, size) as ArrayBuffer;
  return {
    address: Number(koffi.address(pointer)),
    bytes: new Uint8Array(buffer),
    view: new DataView(buffer),
  };
}

/** The memory of a mapped file under the same interface. */
export function nativeOf(memory: SharedMemory): NativeMemory {
  return { address: memory.address, bytes: memory.bytes, view: new DataView(memory.buffer) };
}

const MADV_POPULATE_WRITE = 23;

/**
 * Makes the pages present in this process, as if each had been written to. Returns 0 or `-errno`
 * (-EINVAL before linux 5.14, which does not know it: then they come when they are touched).
 */
export function populate(address: number, length: number): number {
  return checked(madvise_(address, length, MADV_POPULATE_WRITE));
}

const POSIX_FADV_WILLNEED = 3;

/** Has the kernel read the range into its cache, without waiting for it. */
export function adviseWillNeed(fd: number, offset: number, length: number): void {
  fadvise_(fd, offset, length, POSIX_FADV_WILLNEED);
}

const MADV_DONTNEED = 4;

/**
 * Takes pages of a shared file mapping out of this process: what they hold stays, and they come
 * back when they are touched.
 */
export function unmapPages(address: number, length: number): void {
  madvise_(address, length, MADV_DONTNEED);
}

const POLLFD_BYTES = 8;
const POLLIN = 1;

/** Whether a read of the descriptor would not block. Makes a function, to be called often. */
export function readinessOf(fd: number): () => boolean {
  const { address, view } = allocateNative(POLLFD_BYTES);
  view.setInt32(0, fd, true);
  view.setInt16(4, POLLIN, true);
  return () => poll_(address, 1, 0) !== 0;
}

/** Lets another thread run on this processor, when one waits for it. */
export function yieldProcessor(): void {
  schedYield_();
}

export function readAt(fd: number, address: number, length: number): number {
  return checked(read_(fd, address, length));
}
export function writeAt(fd: number, address: number, length: number): number {
  return checked(write_(fd, address, length));
}
export function preadAt(fd: number, address: number, length: number, offset: number): number {
  return checked(pread_(fd, address, length, offset));
}
/** Fails with EAGAIN rather than wait for the device. */
export const RWF_NOWAIT = 8;

/** `vector`: address of one `struct iovec`. */
export function preadv2At(fd: number, vector: number, offset: number, flags: number): number {
  return checked(preadv2_(fd, vector, 1, offset, flags));
}
export function pwriteAt(fd: number, address: number, length: number, offset: number): number {
  return checked(pwrite_(fd, address, length, offset));
}
export function statxAt(
  dir: number,
  name: number,
  flags: number,
  mask: number,
  out: number,
): number {
  return checked(statx_(dir, name, flags, mask, out));
}
const CLOCK_REALTIME_COARSE = 5;
/** The clock that file systems stamp with, as of the last tick, to a struct timespec. */
export function coarseTimeAt(address: number): number {
  return checked(clockGettime_(CLOCK_REALTIME_COARSE, address));
}
/** `handle`: struct file_handle with its `handle_bytes` set to the room behind it. */
export function nameToHandleAt(
  dir: number,
  name: number,
  handle: number,
  mountId: number,
  flags: number,
): number {
  return checked(nameToHandle_(dir, name, handle, mountId, flags));
}
export function openByHandleAt(mountFd: number, handle: number, flags: number): number {
  return checked(openByHandle_(mountFd, handle, flags));
}
export function openatAt(dir: number, name: number, flags: number, mode: number): number {
  return checked(openat_(dir, name, flags, mode));
}
export function mknodatAt(dir: number, name: number, mode: number, device: number): number {
  return checked(mknodat_(dir, name, mode, device));
}
export function mkdiratAt(dir: number, name: number, mode: number): number {
  return checked(mkdirat_(dir, name, mode));
}
export function symlinkatAt(target: number, dir: number, name: number): number {
  return checked(symlinkat_(target, dir, name));
}
export function linkatAt(
  fromDir: number,
  from: number,
  toDir: number,
  to: number,
  flags: number,
): number {
  return checked(linkat_(fromDir, from, toDir, to, flags));
}
export function unlinkatAt(dir: number, name: number, flags: number): number {
  return checked(unlinkat_(dir, name, flags));
}
export function renameat2At(
  fromDir: number,
  from: number,
  toDir: number,
  to: number,
  flags: number,
): number {
  return checked(renameat2_(fromDir, from, toDir, to, flags));
}
export function readlinkatAt(dir: number, name: number, out: number, size: number): number {
  return checked(readlinkat_(dir, name, out, size));
}
export function fgetxattrAt(fd: number, name: number, value: number, size: number): number {
  return checked(fgetxattr_(fd, name, value, size));
}
export function fsetxattrAt(
  fd: number,
  name: number,
  value: number,
  size: number,
  flags: number,
): number {
  return checked(fsetxattr_(fd, name, value, size, flags));
}
export function flistxattrAt(fd: number, list: number, size: number): number {
  return checked(flistxattr_(fd, list, size));
}
export function fremovexattrAt(fd: number, name: number): number {
  return checked(fremovexattr_(fd, name));
}
export function getxattrAt(path: number, name: number, value: number, size: number): number {
  return checked(getxattr_(path, name, value, size));
}
export function setxattrAt(
  path: number,
  name: number,
  value: number,
  size: number,
  flags: number,
): number {
  return checked(setxattr_(path, name, value, size, flags));
}
export function listxattrAt(path: number, list: number, size: number): number {
  return checked(listxattr_(path, list, size));
}
export function removexattrAt(path: number, name: number): number {
  return checked(removexattr_(path, name));
}
export function ioctlAt(fd: number, request: number, argument: number): number {
  return checked(ioctl_(fd, request, argument));
}
/** `inOffset`, `outOffset`: addresses of an i64, advanced by the kernel. */
export function copyFileRangeAt(
  inFd: number,
  inOffset: number,
  outFd: number,
  outOffset: number,
  length: number,
): number {
  return checked(copyFileRange_(inFd, inOffset, outFd, outOffset, length, 0));
}
export function getdentsAt(fd: number, out: number, size: number): number {
  return checked(Number(getdents_(SYS_GETDENTS64, fd, out, size)));
}
