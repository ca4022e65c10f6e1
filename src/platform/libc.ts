/**
 * System calls that Node's `fs` lacks or does slowly, each one koffi call away.
 *
 * Convention: a call that can fail returns the kernel's result, or `-errno` (never throws). Paths
 * and names are bytes with a terminating NUL, since a name is any bytes but `/` and NUL. Buffers
 * are passed by address: the kernel reads and writes them in place.
 *
 * Only what the kernel defines for x86-64 Linux is used here (syscall numbers, struct layouts).
 */
import koffi from "koffi";
import { EIO } from "./errno.ts";

const libc = koffi.load("libc.so.6");

type Bytes = Uint8Array;
/** A descriptor number, or one of the `AT_*` specials. */
type Descriptor = number;

const pread_ = libc.func("intptr_t pread(int, void*, size_t, int64_t)");
const pwrite_ = libc.func("intptr_t pwrite(int, const void*, size_t, int64_t)");
const read_ = libc.func("intptr_t read(int, void*, size_t)");
const write_ = libc.func("intptr_t write(int, const void*, size_t)");
const openat_ = libc.func("int openat(int, const void*, int, uint32_t)");
const close_ = libc.func("int close(int)");
const fsync_ = libc.func("int fsync(int)");
const fdatasync_ = libc.func("int fdatasync(int)");
const syncfs_ = libc.func("int syncfs(int)");
const mknodat_ = libc.func("int mknodat(int, const void*, uint32_t, uint64_t)");
const mkdirat_ = libc.func("int mkdirat(int, const void*, uint32_t)");
const symlinkat_ = libc.func("int symlinkat(const void*, int, const void*)");
const linkat_ = libc.func("int linkat(int, const void*, int, const void*, int)");
const unlinkat_ = libc.func("int unlinkat(int, const void*, int)");
const renameat2_ = libc.func("int renameat2(int, const void*, int, const void*, uint32_t)");
const readlinkat_ = libc.func("intptr_t readlinkat(int, const void*, void*, size_t)");
const fchmod_ = libc.func("int fchmod(int, uint32_t)");
const fchmodat_ = libc.func("int fchmodat(int, const void*, uint32_t, int)");
const fchownat_ = libc.func("int fchownat(int, const void*, uint32_t, uint32_t, int)");
const ftruncate_ = libc.func("int ftruncate(int, int64_t)");
const utimensat_ = libc.func("int utimensat(int, const void*, const void*, int)");
const fallocate_ = libc.func("int fallocate(int, int, int64_t, int64_t)");
const lseek_ = libc.func("int64_t lseek(int, int64_t, int)");
const copyFileRange_ = libc.func(
  "intptr_t copy_file_range(int, const void*, int, const void*, size_t, uint32_t)",
);
const fgetxattr_ = libc.func("intptr_t fgetxattr(int, const void*, void*, size_t)");
const fsetxattr_ = libc.func("int fsetxattr(int, const void*, const void*, size_t, int)");
const flistxattr_ = libc.func("intptr_t flistxattr(int, void*, size_t)");
const fremovexattr_ = libc.func("int fremovexattr(int, const void*)");
const getxattr_ = libc.func("intptr_t getxattr(const void*, const void*, void*, size_t)");
const setxattr_ = libc.func("int setxattr(const void*, const void*, const void*, size_t, int)");
const listxattr_ = libc.func("intptr_t listxattr(const void*, void*, size_t)");
const removexattr_ = libc.func("int removexattr(const void*, const void*)");
const fstatfs_ = libc.func("int fstatfs(int, void*)");
const ioctl_ = libc.func("int ioctl(int, uint64_t, void*)");
const mount_ = libc.func("int mount(const char*, const char*, const char*, uint64_t, const char*)");
const umount2_ = libc.func("int umount2(const char*, int)");
const umask_ = libc.func("uint32_t umask(uint32_t)");
const unshare_ = libc.func("int unshare(int)");
const prctl_ = libc.func("int prctl(int, uint64_t, uint64_t, uint64_t, uint64_t)");
const dup_ = libc.func("int dup(int)");
const fcntl_ = libc.func("int fcntl(int, int, int)");
const mmap_ = libc.func("void* mmap(void*, size_t, int, int, int, int64_t)");
const munmap_ = libc.func("int munmap(int64_t, size_t)");
const syscall1_ = libc.func("syscall", "int64_t", ["int64_t", "int64_t"]);
const syscall3_ = libc.func("syscall", "int64_t", ["int64_t", "int64_t", "int64_t", "int64_t"]);
const getdents_ = libc.func("syscall", "int64_t", ["int64_t", "int64_t", "void*", "uint64_t"]);
const openat2_ = libc.func("syscall", "int64_t", [
  "int64_t",
  "int64_t",
  "const void*",
  "const void*",
  "uint64_t",
]);
const futex_ = libc.func("syscall", "int64_t", [
  "int64_t",
  "void*",
  "int64_t",
  "int64_t",
  "const void*",
  "void*",
  "int64_t",
]);

const SYS_GETDENTS64 = 217;
const SYS_FUTEX = 202;
const SYS_SETFSUID = 122;
const SYS_SETFSGID = 123;
const SYS_PIDFD_OPEN = 434;
const SYS_OPENAT2 = 437;
const SYS_PIDFD_GETFD = 438;

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_EMPTY_PATH = 0x1000;

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_NONBLOCK = 0o4000;
export const O_DSYNC = 0o10000;
export const O_SYNC = 0o4010000;
export const O_DIRECTORY = 0o200000;
export const O_NOFOLLOW = 0o400000;
export const O_NOATIME = 0o1000000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;
export const O_TMPFILE = 0o20200000;

export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

export const SEEK_SET = 0;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_ISVTX = 0o1000;

export const UTIME_NOW = 0x3fffffff;
export const UTIME_OMIT = 0x3ffffffe;

/** An empty path, for the calls that act on the descriptor itself (`AT_EMPTY_PATH`). */
export const EMPTY_PATH: Bytes = Buffer.from([0]);

/** `result`, or `-errno` when the C function said -1. */
function checked(result: number): number {
  return result === -1 ? -koffi.errno() : result;
}

/** Bytes of `name` with the terminating NUL that the kernel wants. */
export function cString(name: string | Bytes): Bytes {
  const bytes = typeof name === "string" ? Buffer.from(name) : name;
  const out = Buffer.alloc(bytes.length + 1);
  out.set(bytes, 0);
  return out;
}

export function pread(fd: Descriptor, buffer: Bytes, length: number, offset: number): number {
  return checked(pread_(fd, buffer, length, offset));
}

export function pwrite(fd: Descriptor, buffer: Bytes, length: number, offset: number): number {
  return checked(pwrite_(fd, buffer, length, offset));
}

export function read(fd: Descriptor, buffer: Bytes, length: number): number {
  return checked(read_(fd, buffer, length));
}

export function write(fd: Descriptor, buffer: Bytes, length: number): number {
  return checked(write_(fd, buffer, length));
}

export function openat(dir: Descriptor, path: Bytes, flags: number, mode = 0): number {
  return checked(openat_(dir, path, flags, mode));
}

export function close(fd: Descriptor): number {
  return checked(close_(fd));
}

export function fsync(fd: Descriptor): number {
  return checked(fsync_(fd));
}

export function fdatasync(fd: Descriptor): number {
  return checked(fdatasync_(fd));
}

export function syncfs(fd: Descriptor): number {
  return checked(syncfs_(fd));
}

/** As {@link syncfs}, on another thread. Settles with 0 or `-EIO`, whatever the error was. */
export function syncfsAsync(fd: Descriptor): Promise<number> {
  return new Promise((resolve) => {
    syncfs_.async(fd, (error: unknown, result: number) => {
      resolve(error !== null || result !== 0 ? -EIO : 0);
    });
  });
}

export function mknodat(dir: Descriptor, name: Bytes, mode: number, device: number): number {
  return checked(mknodat_(dir, name, mode, device));
}

export function mkdirat(dir: Descriptor, name: Bytes, mode: number): number {
  return checked(mkdirat_(dir, name, mode));
}

export function symlinkat(target: Bytes, dir: Descriptor, name: Bytes): number {
  return checked(symlinkat_(target, dir, name));
}

export function linkat(
  fromDir: Descriptor,
  from: Bytes,
  toDir: Descriptor,
  to: Bytes,
  flags: number,
): number {
  return checked(linkat_(fromDir, from, toDir, to, flags));
}

export function unlinkat(dir: Descriptor, name: Bytes, flags: number): number {
  return checked(unlinkat_(dir, name, flags));
}

export function renameat2(
  fromDir: Descriptor,
  from: Bytes,
  toDir: Descriptor,
  to: Bytes,
  flags: number,
): number {
  return checked(renameat2_(fromDir, from, toDir, to, flags));
}

export function readlinkat(dir: Descriptor, name: Bytes, buffer: Bytes): number {
  return checked(readlinkat_(dir, name, buffer, buffer.length));
}

export function fchmod(fd: Descriptor, mode: number): number {
  return checked(fchmod_(fd, mode));
}

export function fchmodat(dir: Descriptor, name: Bytes, mode: number): number {
  return checked(fchmodat_(dir, name, mode, 0));
}

/** uid or gid of 0xffffffff leaves it as it is. */
export function fchownat(
  dir: Descriptor,
  name: Bytes,
  uid: number,
  gid: number,
  flags: number,
): number {
  return checked(fchownat_(dir, name, uid, gid, flags));
}

export function ftruncate(fd: Descriptor, size: number): number {
  return checked(ftruncate_(fd, size));
}

/**
 * `times`: two struct timespec (atime, mtime), 32 bytes. For `fd` itself: {@link EMPTY_PATH} and
 * AT_EMPTY_PATH.
 */
export function utimensat(fd: Descriptor, path: Bytes | null, times: Bytes, flags: number): number {
  return checked(utimensat_(fd, path, times, flags));
}

export function fallocate(fd: Descriptor, mode: number, offset: number, length: number): number {
  return checked(fallocate_(fd, mode, offset, length));
}

export function lseek(fd: Descriptor, offset: number, whence: number): number {
  return checked(Number(lseek_(fd, offset, whence)));
}

/**
 * Goes to a position that getdents64 gave out; it is opaque and uses all 64 bits. Returns 0 or
 * `-errno`.
 */
export function seekDirectory(fd: Descriptor, position: bigint): number {
  return Number(lseek_(fd, position, SEEK_SET)) === -1 ? -koffi.errno() : 0;
}

/** `inOffset` and `outOffset`: 8 bytes each, a little-endian i64, advanced by the kernel. */
export function copyFileRange(
  inFd: Descriptor,
  inOffset: Bytes,
  outFd: Descriptor,
  outOffset: Bytes,
  length: number,
): number {
  return checked(copyFileRange_(inFd, inOffset, outFd, outOffset, length, 0));
}

export function fgetxattr(fd: Descriptor, name: Bytes, value: Bytes, size: number): number {
  return checked(fgetxattr_(fd, name, value, size));
}

export function fsetxattr(
  fd: Descriptor,
  name: Bytes,
  value: Bytes,
  size: number,
  flags: number,
): number {
  return checked(fsetxattr_(fd, name, value, size, flags));
}

export function flistxattr(fd: Descriptor, list: Bytes, size: number): number {
  return checked(flistxattr_(fd, list, size));
}

export function fremovexattr(fd: Descriptor, name: Bytes): number {
  return checked(fremovexattr_(fd, name));
}

export function getxattr(path: Bytes, name: Bytes, value: Bytes, size: number): number {
  return checked(getxattr_(path, name, value, size));
}

export function setxattr(
  path: Bytes,
  name: Bytes,
  value: Bytes,
  size: number,
  flags: number,
): number {
  return checked(setxattr_(path, name, value, size, flags));
}

export function listxattr(path: Bytes, list: Bytes, size: number): number {
  return checked(listxattr_(path, list, size));
}

export function removexattr(path: Bytes, name: Bytes): number {
  return checked(removexattr_(path, name));
}

/** Fills `struct statfs` (120 bytes on x86-64). */
export function fstatfs(fd: Descriptor, buffer: Bytes): number {
  return checked(fstatfs_(fd, buffer));
}

export function ioctl(fd: Descriptor, request: number, argument: Bytes | null): number {
  return checked(ioctl_(fd, request, argument));
}

export function mount(
  source: string,
  target: string,
  type: string,
  flags: number,
  data: string,
): number {
  return checked(mount_(source, target, type, flags, data));
}

export const MNT_DETACH = 2;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;

export function umount2(target: string, flags: number): number {
  return checked(umount2_(target, flags));
}

/** Sets the umask, of this thread alone after `unshare(CLONE_FS)`; returns the old one. */
export function umask(mask: number): number {
  return umask_(mask);
}

export const CLONE_FS = 0x200;

export function unshare(flags: number): number {
  return checked(unshare_(flags));
}

export const PR_SET_SECUREBITS = 28;
/**
 * Capabilities stay as they are when the file system uid changes; `prctl(2)`, `capabilities(7)`.
 */
export const SECBIT_NO_SETUID_FIXUP = 4;

export function prctl(option: number, a: number, b = 0, c = 0, d = 0): number {
  return checked(prctl_(option, a, b, c, d));
}

/**
 * The raw call, which acts on the calling thread alone (glibc has no process-wide wrapper for it).
 */
export function setfsuid(uid: number): void {
  syscall1_(SYS_SETFSUID, uid);
}

/** As {@link setfsuid}, for the group. */
export function setfsgid(gid: number): void {
  syscall1_(SYS_SETFSGID, gid);
}

export function dup(fd: Descriptor): number {
  return checked(dup_(fd));
}

export const F_SETFD = 2;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const FD_CLOEXEC = 1;

export function fcntl(fd: Descriptor, command: number, argument: number): number {
  return checked(fcntl_(fd, command, argument));
}

/** Raw directory entries (`struct linux_dirent64`), from the position of the descriptor. */
export function getdents64(fd: Descriptor, buffer: Bytes, size: number): number {
  return checked(Number(getdents_(SYS_GETDENTS64, fd, buffer, size)));
}

export const RESOLVE_NO_XDEV = 1;
export const RESOLVE_NO_MAGICLINKS = 2;
export const RESOLVE_NO_SYMLINKS = 4;
export const RESOLVE_BENEATH = 8;

const openHow = new BigUint64Array(3);
const openHowBytes = new Uint8Array(openHow.buffer);

/** `openat2(2)`: opens with a promise about how the path is resolved. */
export function openat2(
  dir: Descriptor,
  path: Bytes,
  how: { flags: number; mode?: number; resolve: number },
): number {
  openHow[0] = BigInt(how.flags);
  openHow[1] = BigInt(how.mode ?? 0);
  openHow[2] = BigInt(how.resolve);
  return checked(Number(openat2_(SYS_OPENAT2, dir, path, openHowBytes, openHowBytes.length)));
}

export function pidfdOpen(pid: number): number {
  return checked(Number(syscall3_(SYS_PIDFD_OPEN, pid, 0, 0)));
}

/** A copy of descriptor `fd` of the process behind `pidfd`; needs the right to trace it. */
export function pidfdGetfd(pidfd: Descriptor, fd: number): number {
  return checked(Number(syscall3_(SYS_PIDFD_GETFD, pidfd, fd, 0)));
}

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;

const ADDRESS_MAX = 2 ** 47;

/**
 * Maps `size` bytes of `fd` shared; returns where. A failed map is fatal to the caller, hence it
 * throws.
 */
export function mmapShared(fd: Descriptor, size: number): number {
  const address = Number(koffi.address(mmap_(null, size, PROT_READ_WRITE, MAP_SHARED, fd, 0)));
  if (address > ADDRESS_MAX) throw new Error(`mmap of ${size} bytes: errno ${koffi.errno()}`);
  return address;
}

/** The memory at an address of this process; the caller answers for its being there. */
export function viewOf(address: number, size: number): ArrayBuffer {
  return koffi.view(address, size) as ArrayBuffer;
}

export function munmap(address: number, size: number): number {
  return checked(munmap_(address, size));
}

const FUTEX_WAIT = 0;
const FUTEX_WAKE = 1;
const timespec = new BigInt64Array(2);
const timespecBytes = new Uint8Array(timespec.buffer);

/**
 * Sleeps while the 32-bit word at `word` holds `expected`, at most `timeoutMs`. Works across
 * processes. Returns 0 when woken, else `-EAGAIN` (the word differed), `-ETIMEDOUT` or `-EINTR`.
 */
export function futexWait(word: Uint8Array, expected: number, timeoutMs: number): number {
  timespec[0] = BigInt(Math.floor(timeoutMs / 1000));
  timespec[1] = BigInt(Math.floor((timeoutMs % 1000) * 1e6));
  return checked(Number(futex_(SYS_FUTEX, word, FUTEX_WAIT, expected, timespecBytes, null, 0)));
}

export function futexWake(word: Uint8Array, count: number): number {
  return checked(Number(futex_(SYS_FUTEX, word, FUTEX_WAKE, count, null, null, 0)));
}
