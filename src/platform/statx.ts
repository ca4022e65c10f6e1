/**
 * `struct statx`, read in place. One instance holds the answer of one call; the fields stay valid
 * until the next call on the same instance, so that the hot path allocates nothing.
 *
 * Layout: include/uapi/linux/stat.h.
 */
import { ENAMETOOLONG } from "./errno.ts";
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW } from "./libc.ts";
import { allocateNative, coarseTimeAt, statxAt } from "./native.ts";

/** STATX_BASIC_STATS | STATX_BTIME */
const MASK = 0xfff;
const STATX_BTIME = 0x800;
/** STATX_MTIME | STATX_CTIME */
const CHANGE_TIMES = 0xc0;
/** Of stx_mtime, a struct statx_timestamp: as a timespec, with a narrower count of nanoseconds. */
const MTIME_AT = 112;
const STATX_SIZE_BYTES = 256;
/** A path, for those who give more than a name. */
const NAME_BYTES_MAX = 4096;
const TWO_32 = 4294967296;

export class Statx {
  readonly #memory = allocateNative(STATX_SIZE_BYTES + NAME_BYTES_MAX + 1);
  readonly #u32 = new Uint32Array(this.#memory.bytes.buffer, 0, STATX_SIZE_BYTES / 4);
  readonly #i32 = new Int32Array(this.#memory.bytes.buffer, 0, STATX_SIZE_BYTES / 4);
  readonly #u16 = new Uint16Array(this.#memory.bytes.buffer, 0, STATX_SIZE_BYTES / 2);

  /**
   * The node itself, never what a symlink at `name` (NUL-terminated) leads to. Returns 0 or
   * `-errno`.
   */
  at(dir: number, name: Uint8Array): number {
    if (name.length > NAME_BYTES_MAX + 1) return -ENAMETOOLONG;
    this.#memory.bytes.set(name, STATX_SIZE_BYTES);
    return this.atAddress(dir, this.#memory.address + STATX_SIZE_BYTES);
  }

  /** As {@link at}, for a name in native memory. */
  atAddress(dir: number, name: number): number {
    return statxAt(dir, name, AT_SYMLINK_NOFOLLOW, MASK, this.#memory.address);
  }

  /** The node behind a descriptor (`O_PATH` ones too). Returns 0 or `-errno`. */
  of(fd: number): number {
    return this.#of(fd, MASK);
  }

  #of(fd: number, mask: number): number {
    this.#memory.bytes[STATX_SIZE_BYTES] = 0;
    const empty = this.#memory.address + STATX_SIZE_BYTES;
    return statxAt(fd, empty, AT_EMPTY_PATH, mask, this.#memory.address);
  }

  /**
   * As {@link of} for a file that was just written, with the time of the clock's last tick as its
   * mtime, which most often it is, instead of the true one (and with no ctime). For reading these
   * two has a price where the kernel keeps multigrain timestamps (linux 6.13): the next change gets
   * a time of its own, and with it all later changes of the tick, in any file. Each then dirties
   * its inode, and each fdatasync commits the journal, where otherwise one a tick does.
   */
  ofWritten(fd: number): number {
    const result = this.#of(fd, MASK & ~CHANGE_TIMES);
    return result < 0 ? result : coarseTimeAt(this.#memory.address + MTIME_AT);
  }

  /** The answer as the kernel wrote it: `struct statx`, 256 bytes. A view. */
  get raw(): Uint8Array {
    return this.#memory.bytes.subarray(0, STATX_SIZE_BYTES);
  }

  #u64(word: number): number {
    return (this.#u32[word] as number) + (this.#u32[word + 1] as number) * TWO_32;
  }

  #i64(word: number): number {
    return (this.#u32[word] as number) + (this.#i32[word + 1] as number) * TWO_32;
  }

  get blksize(): number {
    return this.#u32[1] as number;
  }
  get nlink(): number {
    return this.#u32[4] as number;
  }
  get uid(): number {
    return this.#u32[5] as number;
  }
  get gid(): number {
    return this.#u32[6] as number;
  }
  /** Type and permission bits, as in `st_mode`. */
  get mode(): number {
    return this.#u16[14] as number;
  }
  get ino(): number {
    return this.#u64(8);
  }
  get size(): number {
    return this.#u64(10);
  }
  /** In units of 512 bytes. */
  get blocks(): number {
    return this.#u64(12);
  }
  get atimeSec(): number {
    return this.#i64(16);
  }
  get atimeNsec(): number {
    return this.#u32[18] as number;
  }
  /** Undefined where the file system keeps none. */
  get birthSec(): number | undefined {
    return ((this.#u32[0] as number) & STATX_BTIME) === 0 ? undefined : this.#i64(20);
  }
  get ctimeSec(): number {
    return this.#i64(24);
  }
  get ctimeNsec(): number {
    return this.#u32[26] as number;
  }
  get mtimeSec(): number {
    return this.#i64(28);
  }
  get mtimeNsec(): number {
    return this.#u32[30] as number;
  }
  get rdevMajor(): number {
    return this.#u32[32] as number;
  }
  get rdevMinor(): number {
    return this.#u32[33] as number;
  }
  /**
   * Device number in the kernel's 32-bit form for user space (`new_encode_dev`), as FUSE carries
   * it.
   */
  get rdev(): number {
    const major = this.rdevMajor;
    const minor = this.rdevMinor;
    return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
  }
  get devMajor(): number {
    return this.#u32[34] as number;
  }
  get devMinor(): number {
    return this.#u32[35] as number;
  }
  get isDirectory(): boolean {
    return (this.mode & 0o170000) === 0o040000;
  }
  get isRegular(): boolean {
    return (this.mode & 0o170000) === 0o100000;
  }
}
