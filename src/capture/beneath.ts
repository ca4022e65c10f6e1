/**
 * The way to the files beneath one mount, for one worker: from the kernel's node ids to
 * descriptors.
 *
 * A node is opened by its handle. Descriptors are kept in two bounded caches that all workers
 * share: `files` (regular files, readable and writable) and `places` (any node, O_PATH: enough for
 * attributes and for names in a directory).
 */
import { ROOT_ID } from "../fuse/abi.ts";
import { EACCES, ENOENT, EPERM, EROFS, ESTALE } from "../platform/errno.ts";
import {
  AT_EMPTY_PATH,
  close,
  O_CLOEXEC,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_RDWR,
} from "../platform/libc.ts";
import { allocateNative, nameToHandleAt, openatAt, openByHandleAt } from "../platform/native.ts";
import type { DescriptorCache } from "./descriptor-cache.ts";
import { HANDLE_BYTES_MAX, type NodeTable } from "./node-table.ts";

/**
 * A descriptor in use; give it back with {@link Beneath.release}. Reused, one per purpose and
 * worker.
 */
export interface NodeUse {
  fd: number;
  cache: DescriptorCache | undefined;
  index: number;
  /** False for an O_PATH descriptor, on which reads, writes and f*xattr do not work. */
  real: boolean;
  /** Open with O_APPEND: a write lands at the end, wherever it was meant for. */
  appends: boolean;
}

export function newNodeUse(): NodeUse {
  return { fd: -1, cache: undefined, index: -1, real: false, appends: false };
}

export interface BeneathOptions {
  readonly rootFd: number;
  readonly rootIno: number;
  readonly nodes: NodeTable;
  readonly files: DescriptorCache;
  readonly places: DescriptorCache;
}

const HANDLE_HEADER_BYTES = 8;

export class Beneath {
  readonly rootFd: number;
  readonly rootIno: number;
  readonly nodes: NodeTable;
  readonly #files: DescriptorCache;
  readonly #places: DescriptorCache;
  /** struct file_handle, then the mount id, an empty name, and ".". */
  readonly #memory = allocateNative(HANDLE_HEADER_BYTES + HANDLE_BYTES_MAX + 16);
  readonly #handle: Uint32Array;
  /** Of the node that {@link willGo} was told of. */
  readonly #leaving = new Uint32Array(2 + HANDLE_BYTES_MAX / 4);
  readonly #mountIdAt: number;
  /** Address of an empty name. */
  readonly emptyName: number;
  readonly #dotAt: number;

  constructor(options: BeneathOptions) {
    this.rootFd = options.rootFd;
    this.rootIno = options.rootIno;
    this.nodes = options.nodes;
    this.#files = options.files;
    this.#places = options.places;
    this.#handle = new Uint32Array(this.#memory.bytes.buffer, 0, 2 + HANDLE_BYTES_MAX / 4);
    this.#mountIdAt = this.#memory.address + HANDLE_HEADER_BYTES + HANDLE_BYTES_MAX;
    this.emptyName = this.#mountIdAt + 8;
    this.#dotAt = this.emptyName + 2;
    this.#memory.bytes[HANDLE_HEADER_BYTES + HANDLE_BYTES_MAX + 10] = 0x2e;
  }

  /** Inode number of the kernel's node id; the root's own for 1. */
  ino(nodeId: number): number {
    return nodeId === ROOT_ID ? this.rootIno : nodeId - 1;
  }

  nodeId(ino: number): number {
    return ino === this.rootIno ? ROOT_ID : ino + 1;
  }

  /**
   * Reads the handle of `name` (an address) in `dir`. Returns 0 or `-errno`; -EOVERFLOW when the
   * file system's handles are larger than we keep.
   */
  readHandle(dir: number, name: number): number {
    this.#handle[0] = HANDLE_BYTES_MAX;
    return nameToHandleAt(dir, name, this.#memory.address, this.#mountIdAt, 0);
  }

  /** As {@link readHandle}, for the node behind a descriptor. */
  readHandleOf(fd: number): number {
    this.#handle[0] = HANDLE_BYTES_MAX;
    return nameToHandleAt(fd, this.emptyName, this.#memory.address, this.#mountIdAt, AT_EMPTY_PATH);
  }

  /** Keeps the handle that was read last as that of `ino`, for one more lookup. */
  remember(ino: number): void {
    this.nodes.remember(ino, this.#handle);
  }

  /**
   * Keeps the handle that was read last until the node is gone, whether or not the kernel forgets
   * it: the copy has the node, and may ask for it again.
   */
  pin(ino: number, isRegular: boolean): void {
    this.nodes.pin(ino, this.#handle, isRegular);
  }

  /**
   * Call before a node may be removed: {@link unpinGone} is for this one. 0: for none, since what
   * was removed is not known to be what has the number now.
   */
  willGo(ino: number): void {
    if (!this.nodes.handle(ino, this.#leaving)) this.#leaving.fill(0);
  }

  /** The node that was to go is gone, and its number may be another's since: that stays pinned. */
  unpinGone(ino: number): void {
    this.nodes.unpin(ino, this.#leaving);
  }

  /**
   * What tells apart two nodes that had the same inode number: the second word of the handle in
   * most file systems.
   */
  get generation(): number {
    const words = (this.#handle[0] as number) >> 2;
    return words < 2 ? 0 : (this.#handle[1 + words] as number);
  }

  /**
   * Opens a node by its handle, uncached; returns a descriptor or `-errno` (-ESTALE: not known, or
   * gone).
   */
  open(ino: number, flags: number): number {
    if (ino === this.rootIno) return openatAt(this.rootFd, this.#dotAt, flags | O_CLOEXEC, 0);
    if (!this.nodes.handle(ino, this.#handle)) return -ESTALE;
    return openByHandleAt(this.rootFd, this.#memory.address, flags | O_CLOEXEC);
  }

  /** A descriptor for attributes and names: any kind of node. Returns 0 or `-errno`. */
  usePlace(ino: number, use: NodeUse): number {
    if (ino === this.rootIno) return this.#useRoot(use);
    if (this.#useCached(this.#files, ino, use, true)) return 0;
    if (this.#useCached(this.#places, ino, use, false)) return 0;
    const fd = this.open(ino, O_PATH | O_NOFOLLOW);
    return fd < 0 ? fd : this.#keep(this.#places, ino, use, fd, false);
  }

  /** A descriptor for a directory's names; never that of a file. Returns 0 or `-errno`. */
  useDirectory(ino: number, use: NodeUse): number {
    if (ino === this.rootIno) return this.#useRoot(use);
    if (this.#useCached(this.#places, ino, use, false)) return 0;
    const fd = this.open(ino, O_PATH | O_NOFOLLOW);
    // The kernel only asks about directories that it holds: one that is gone has been removed.
    if (fd === -ESTALE) return -ENOENT;
    return fd < 0 ? fd : this.#keep(this.#places, ino, use, fd, false);
  }

  /** A descriptor for the data of a regular file. Returns 0 or `-errno`. */
  useFile(ino: number, use: NodeUse, options: { write: boolean }): number {
    if (this.#useCached(this.#files, ino, use, true)) return 0;
    const fd = this.open(ino, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0) return this.#keep(this.#files, ino, use, fd, true);
    const refused = fd === -EPERM || fd === -EACCES || fd === -EROFS;
    if (!refused) return fd;
    return options.write ? this.#useAppendOnly(ino, use, fd) : this.#useReadOnly(ino, use);
  }

  /** An immutable or append-only file can still be read. */
  #useReadOnly(ino: number, use: NodeUse): number {
    return this.#useUncached(this.open(ino, O_RDONLY | O_NOFOLLOW | O_NONBLOCK), use);
  }

  /**
   * A file with the append-only flag opens for writing only with O_APPEND; the kernel chose the end
   * already.
   */
  #useAppendOnly(ino: number, use: NodeUse, refusal: number): number {
    const O_APPEND = 0o2000;
    const fd = this.open(ino, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK);
    const result = this.#useUncached(fd < 0 ? refusal : fd, use);
    use.appends = result === 0;
    return result;
  }

  #useUncached(fd: number, use: NodeUse): number {
    if (fd < 0) return fd;
    use.fd = fd;
    use.cache = undefined;
    use.index = -1;
    use.real = true;
    use.appends = false;
    return 0;
  }

  #useRoot(use: NodeUse): number {
    use.fd = this.rootFd;
    use.cache = this.#places;
    use.index = -1;
    use.real = true;
    use.appends = false;
    return 0;
  }

  #useCached(cache: DescriptorCache, ino: number, use: NodeUse, real: boolean): boolean {
    const index = cache.acquire(ino);
    if (index < 0) return false;
    use.fd = cache.fd(index);
    use.cache = cache;
    use.index = index;
    use.real = real;
    use.appends = false;
    return true;
  }

  #keep(cache: DescriptorCache, ino: number, use: NodeUse, fd: number, real: boolean): number {
    const index = cache.insert(ino, fd);
    use.fd = fd;
    use.cache = index < 0 ? undefined : cache;
    use.index = index;
    use.real = real;
    use.appends = false;
    return 0;
  }

  release(use: NodeUse): void {
    if (use.cache === undefined) close(use.fd);
    else if (use.index >= 0) use.cache.release(use.index);
    use.fd = -1;
  }

  /** The node is being removed: nothing of ours may keep its space. */
  purge(ino: number): void {
    this.#files.purge(ino);
    this.#places.purge(ino);
  }
}
