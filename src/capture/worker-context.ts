/**
 * What the handlers of one worker share: the ways to the files beneath, to the ring, and some
 * scratch memory.
 */
import { writeU64 } from "../base/bytes.ts";
import type { Reply, Request } from "../fuse/message.ts";
import {
  type EntryIdentity,
  FUSE_DEV_IOC_BACKING_CLOSE,
  FUSE_DEV_IOC_BACKING_OPEN,
  ENTRY_OUT_BYTES,
  NOTIFY_INVAL_INODE,
  NOTIFY_INVAL_INODE_BYTES,
  writeEntry,
} from "../fuse/abi.ts";
import { EAGAIN, EXDEV } from "../platform/errno.ts";
import {
  close,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  setfsgid,
  setfsuid,
  umask,
} from "../platform/libc.ts";
import {
  allocateNative,
  ioctlAt,
  type NativeMemory,
  preadv2At,
  RWF_NOWAIT,
  writeAt,
} from "../platform/native.ts";
import { Statx } from "../platform/statx.ts";
import { type Beneath, type NodeUse, newNodeUse } from "./beneath.ts";
import type { Inheritance } from "./inheritance.ts";
import type { LockTable } from "./lock-table.ts";
import { NODE_FLAG_HELD_BY_FD } from "./node-table.ts";
import type { Recorder } from "./recorder.ts";
import type { WorkerPool } from "./worker-pool.ts";
import type { WriteTimes } from "./write-times.ts";

/** Nobody else writes beneath, so what the kernel knows stays true until it changes it itself. */
export const VALID_SECONDS = 86_400;

const SCRATCH_BYTES = 1 << 17;

export interface WorkerOptions {
  readonly mount: number;
  readonly fuseFd: number;
  readonly beneath: Beneath;
  readonly locks: LockTable;
  readonly recorder: Recorder;
  /** Device of the folder beneath; what lies on another is a nested mount. */
  readonly device: { readonly major: number; readonly minor: number };
  readonly inheritance: Inheritance;
  readonly pool: WorkerPool;
  readonly writeTimes: WriteTimes;
  readonly recordCopies: boolean;
}

export class WorkerContext {
  readonly mount: number;
  readonly fuseFd: number;
  readonly beneath: Beneath;
  readonly locks: LockTable;
  readonly recorder: Recorder;
  readonly inheritance: Inheritance;
  readonly pool: WorkerPool;
  readonly writeTimes: WriteTimes;
  readonly recordCopies: boolean;
  readonly #device: { readonly major: number; readonly minor: number };

  /** Status of the node in hand. */
  readonly statx: Statx = new Statx();
  /** Status of a second node: a parent, a target. */
  readonly statx2: Statx = new Statx();
  readonly use: NodeUse = newNodeUse();
  readonly use2: NodeUse = newNodeUse();
  readonly use3: NodeUse = newNodeUse();
  readonly scratch: NativeMemory = allocateNative(SCRATCH_BYTES);
  /** One struct iovec. */
  readonly #vector = allocateNative(16);
  readonly #identity: { -readonly [K in keyof EntryIdentity]: EntryIdentity[K] } = {
    nodeId: 0,
    generation: 0,
    validSeconds: VALID_SECONDS,
  };

  #fsuid = 0;
  #fsgid = 0;
  #umask = 0;

  constructor(options: WorkerOptions) {
    this.mount = options.mount;
    this.fuseFd = options.fuseFd;
    this.beneath = options.beneath;
    this.locks = options.locks;
    this.recorder = options.recorder;
    this.inheritance = options.inheritance;
    this.pool = options.pool;
    this.writeTimes = options.writeTimes;
    this.recordCopies = options.recordCopies;
    this.#device = options.device;
  }

  /**
   * Creates happen as the caller: owner, group and default ACL then come out as beneath. This
   * thread keeps its capabilities all the while (SECBIT_NO_SETUID_FIXUP); whether the caller may
   * was the kernel's to check.
   */
  becomeCaller(request: Request, mask: number): void {
    const { uid, gid } = request;
    if (uid !== this.#fsuid) setfsuid(uid);
    if (gid !== this.#fsgid) setfsgid(gid);
    if (mask !== this.#umask) umask(mask);
    this.#fsuid = uid;
    this.#fsgid = gid;
    this.#umask = mask;
  }

  /**
   * True when the node that was looked at lies on another file system: a mount below the protected
   * folder.
   */
  isElsewhere(statx: Statx): boolean {
    return statx.devMinor !== this.#device.minor || statx.devMajor !== this.#device.major;
  }

  /**
   * Looks at `name` (an address) in the directory `dir`, counts one lookup of it and writes its
   * entry at byte `at` of the reply. Returns 0 or `-errno`.
   */
  lookUp(dir: number, name: number, reply: Reply, at: number): number {
    const error = this.statx.atAddress(dir, name);
    if (error < 0) return error;
    if (this.isElsewhere(this.statx)) return -EXDEV;
    const failed = this.beneath.readHandle(dir, name);
    if (failed < 0) return failed;
    this.writeKnownEntry(reply, at);
    return 0;
  }

  /** The entry of the node in {@link statx} whose handle was read last; counts one lookup. */
  writeKnownEntry(reply: Reply, at: number): void {
    const { ino } = this.statx;
    this.#identity.nodeId = this.beneath.nodeId(ino);
    this.#identity.generation = this.beneath.generation;
    this.beneath.remember(ino);
    writeEntry(reply.view, reply.at(at), this.#identity, this.statx);
    reply.length = at + ENTRY_OUT_BYTES;
  }

  /**
   * Reads what the page cache beneath holds. Returns the bytes read (fewer only at the end of the
   * file), or -EAGAIN: some of it must be waited for.
   */
  readCached(fd: number, address: number, size: number, offset: number): number {
    const got = this.#readNow(fd, address, size, offset);
    if (got < 0) return -EAGAIN;
    if (got === 0 || got === size) return got;
    const rest = this.#readNow(fd, address + got, size - got, offset + got);
    return rest === 0 ? got : -EAGAIN;
  }

  #readNow(fd: number, address: number, size: number, offset: number): number {
    writeU64(this.#vector.view, 0, address);
    writeU64(this.#vector.view, 8, size);
    return preadv2At(fd, this.#vector.address, offset, RWF_NOWAIT);
  }

  /**
   * Keeps the regular file `ino` alive, whose last name is about to go while applications may have
   * it open: the connection itself holds it, so that it survives the engine. Where the kernel
   * cannot (before 6.9), a descriptor of this process does, and such a file is lost when the engine
   * dies.
   */
  hold(ino: number): Hold {
    const fd = this.beneath.open(ino, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    return fd < 0 ? NO_HOLD : this.holdDescriptor(fd);
  }

  /** As {@link hold}, for a file that is open here; takes the descriptor over. */
  holdDescriptor(fd: number): Hold {
    if (!this.beneath.nodes.canHold) return { id: fd, flags: NODE_FLAG_HELD_BY_FD };
    const { view, address } = this.scratch;
    view.setInt32(0, fd, true);
    view.setUint32(4, 0, true);
    view.setBigUint64(8, 0n, true);
    const id = ioctlAt(this.fuseFd, FUSE_DEV_IOC_BACKING_OPEN, address);
    if (id <= 0) return { id: fd, flags: NODE_FLAG_HELD_BY_FD };
    close(fd);
    return { id, flags: 0 };
  }

  /** Tells the kernel to ask for the node's attributes again. */
  invalidateAttributes(nodeId: number): void {
    const { view, address } = this.scratch;
    view.setUint32(0, NOTIFY_INVAL_INODE_BYTES, true);
    view.setInt32(4, NOTIFY_INVAL_INODE, true);
    view.setBigUint64(8, 0n, true);
    writeU64(view, 16, nodeId);
    // A negative offset leaves the data alone.
    view.setBigInt64(24, -1n, true);
    view.setBigInt64(32, 0n, true);
    writeAt(this.fuseFd, address, NOTIFY_INVAL_INODE_BYTES);
  }

  /** A handler threw: gives back what it had in hand, lest others wait for it for ever. */
  recover(): void {
    this.locks.unlockAll();
    for (const use of [this.use, this.use2, this.use3]) {
      if (use.fd >= 0) this.beneath.release(use);
    }
  }

  letGo(hold: Hold): void {
    if (hold.id === 0) return;
    if ((hold.flags & NODE_FLAG_HELD_BY_FD) !== 0) {
      close(hold.id);
      return;
    }
    this.scratch.view.setUint32(0, hold.id, true);
    ioctlAt(this.fuseFd, FUSE_DEV_IOC_BACKING_CLOSE, this.scratch.address);
  }
}

/**
 * What keeps a nameless node alive: an id of the connection, or with NODE_FLAG_HELD_BY_FD a
 * descriptor.
 */
export interface Hold {
  readonly id: number;
  readonly flags: number;
}

export const NO_HOLD: Hold = { id: 0, flags: 0 };
