/**
 * `struct statx`, read in place. One instance holds the answer of one call; the fields stay valid until the
 * next call on the same instance, so that the hot path allocates nothing.
 *
 * Layout: include/uapi/linux/stat.h.
 */
import koffi from "koffi";
import { AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, EMPTY_PATH } from "./libc.ts";

const statx_ = koffi
  .load("libc.so.6")
  .func("int statx(int, const void*, int, uint32_t, void*)");

const STATX_BASIC_STATS = 0x7ff;
const STATX_BTIME = 0x800;
const STATX_SIZE_BYTES = 256;
const TWO_32 = 4294967296;

export class Statx {
  readonly #bytes = new Uint8Array(STATX_SIZE_BYTES);
  readonly #u32 = new Uint32Array(this.#bytes.buffer);
  readonly #i32 = new Int32Array(this.#bytes.buffer);
  readonly #u16 = new Uint16Array(this.#bytes.buffer);

  /** The node itself, never what a symlink at `name` leads to. Returns 0 or `-errno`. */
  at(dir: number, name: Uint8Array): number {
    return this.#call(dir, name, AT_SYMLINK_NOFOLLOW);
  }

  /** The node behind a descriptor (`O_PATH` ones too). Returns 0 or `-errno`. */
  of(fd: number): number {
    return this.#call(fd, EMPTY_PATH, AT_EMPTY_PATH);
  }

  #call(fd: number, path: Uint8Array, flags: number): number {
    const result = statx_(fd, path, flags, STATX_BASIC_STATS | STATX_BTIME, this.#bytes);
    return result === 0 ? 0 : -koffi.errno();
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
  /** Device number in the kernel's 32-bit form for user space (`new_encode_dev`), as FUSE carries it. */
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
  /** Id of the mount, so that crossing into another one can be seen; linux >= 5.8, else 0. */
  get isDirectory(): boolean {
    return (this.mode & 0o170000) === 0o040000;
  }
  get isRegular(): boolean {
    return (this.mode & 0o170000) === 0o100000;
  }
}
