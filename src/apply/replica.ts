/**
 * The replica's nodes: how to get at them, and what to do when they are not what they should be.
 *
 * Every access starts at a descriptor of the replica's root and follows no symlink, so that nothing
 * in the stream and nothing that somebody put into the replica leads outside.
 */
import type { NodeTree } from "../model/node-tree.ts";
import { NodeFlag, TYPE_DIRECTORY, TYPE_REGULAR, WANT_ALL } from "../model/node-tree.ts";
import { ENOENT, EPERM } from "../platform/errno.ts";
import {
  close,
  cString,
  O_CLOEXEC,
  O_NOATIME,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  openat,
} from "../platform/libc.ts";
import {
  FS_APPEND_FL,
  FS_IMMUTABLE_FL,
  getInodeFlags,
  openDirectoryBeneath,
  setInodeFlags,
  setTimes,
  setTimesAt,
  type Time,
} from "../platform/replica-files.ts";
import { Statx } from "../platform/statx.ts";
import { type ApplyMemory, Counter } from "./apply-memory.ts";
import { type Refusal, refusalOf } from "./apply-error.ts";
import { type Descriptor, DescriptorCache } from "./descriptor-cache.ts";
import { PendingTimes } from "./pending-times.ts";
import type { ReplicaRoot } from "./private-area.ts";

const FILES_MAX = 256;
const DIRECTORIES_MAX = 256;
export const PROTECTING_FLAGS: number = FS_IMMUTABLE_FL | FS_APPEND_FL;

export interface ReplicaEvents {
  /** The node is marked as wanted. */
  wanted(node: number): void;
  /** The replica's node was not as it should be. */
  diverged(node: number, action: string, errno: number): void;
  /** The replica's file system cannot hold this; the job goes on without it. */
  unsupported(node: number, action: string, errno: number): void;
  /** The node's slot in the tree will be free. */
  removed(node: number): void;
}

/** An open node. Those that `isTemporary` are closed by who asked for them. */
export interface Opened {
  readonly fd: number;
  /** Opened with `O_PATH`: a symlink, fifo, socket or device. */
  readonly isPathOnly: boolean;
}

export class Replica {
  readonly tree: NodeTree;
  readonly memory: ApplyMemory;
  readonly pending: PendingTimes;
  readonly #roots: ReadonlyMap<number, ReplicaRoot>;
  readonly #events: ReplicaEvents;
  readonly #files: DescriptorCache;
  readonly #directories: DescriptorCache;
  readonly status: Statx = new Statx();

  constructor(
    tree: NodeTree,
    memory: ApplyMemory,
    roots: ReadonlyMap<number, ReplicaRoot>,
    events: ReplicaEvents,
  ) {
    this.tree = tree;
    this.memory = memory;
    this.#roots = roots;
    this.#events = events;
    this.pending = new PendingTimes(memory, (node, mtime, atime) => {
      this.#setTimes(node, mtime, atime);
    });
    const flush = (node: number) => this.pending.flush(node);
    this.#files = new DescriptorCache(FILES_MAX, flush);
    this.#directories = new DescriptorCache(DIRECTORIES_MAX, flush);
    this.#restoreFlags();
  }

  root(mount: number): ReplicaRoot {
    return this.#roots.get(mount) as ReplicaRoot;
  }

  /** A kept descriptor of the directory, or `-errno`. */
  directory(node: number): number {
    const entry = this.directoryEntry(node);
    return typeof entry === "number" ? entry : entry.fd;
  }

  directoryEntry(node: number): Descriptor | number {
    const known = this.#directories.get(node);
    if (known !== undefined) return known;
    const fd = this.#openDirectory(node);
    return fd < 0 ? fd : this.#directories.put(node, fd);
  }

  #openDirectory(node: number): number {
    const { tree } = this;
    const names: Uint8Array[] = [];
    const mount = tree.mount(node);
    for (let at = node; ; ) {
      const base = this.#baseDescriptor(at, mount);
      if (base !== undefined) return openDirectoryBeneath(base, names.reverse());
      const link = tree.firstLink(at);
      if (link === 0) return -ENOENT;
      names.push(tree.nameOf(link));
      at = tree.directoryOf(link);
    }
  }

  /** A descriptor that is open already, to start a walk from. */
  #baseDescriptor(node: number, mount: number): number | undefined {
    if (node === this.tree.root(mount)) return this.root(mount).rootFd;
    if (node === this.tree.privateDirectory(mount)) return this.root(mount).namelessFd;
    return this.#directories.get(node)?.fd;
  }

  /** A kept descriptor of the regular file, open for reading and writing, or `-errno`. */
  file(node: number): number {
    const known = this.#files.get(node);
    if (known !== undefined) return known.fd;
    const fd = this.#openByAnyName(node, O_RDWR | O_NONBLOCK | O_NOATIME);
    if (fd >= 0) {
      if (this.#isRegular(fd)) {
        this.#files.put(node, fd);
        return fd;
      }
      close(fd);
      return -ENOENT;
    }
    return fd;
  }

  #isRegular(fd: number): boolean {
    return this.status.of(fd) === 0 && this.status.isRegular;
  }

  /**
   * Any of the node's names will do, but the first should: when it fails, the replica needs a look.
   */
  #openByAnyName(node: number, flags: number): number {
    const { tree } = this;
    let first = 0;
    for (let link = tree.firstLink(node); link !== 0; link = tree.nextLink(link)) {
      const fd = this.#openEntry(node, tree.directoryOf(link), nameZ(tree.nameOf(link)), flags);
      if (fd >= 0) {
        if (first < 0) this.refused(node, "open by its first name", -first, true);
        return fd;
      }
      if (first === 0) first = fd;
    }
    return first === 0 ? -ENOENT : first;
  }

  #openEntry(node: number, directory: number, name: Uint8Array, flags: number): number {
    const how = flags | O_NOFOLLOW | O_CLOEXEC;
    for (let attempt = 0; ; attempt++) {
      const dir = this.directory(directory);
      if (dir < 0) return dir;
      const fd = openat(dir, name, how);
      if (fd >= 0) return fd;
      if (fd === -EPERM) return this.#openProtected(node, dir, name, how);
      if (attempt > 0) return fd;
      // The descriptor may be of a directory that somebody has moved or replaced.
      this.#directories.evict(directory);
    }
  }

  /**
   * Immutable and append-only files cannot be opened for writing; their flags are taken off for a
   * moment.
   */
  #openProtected(node: number, dir: number, name: Uint8Array, flags: number): number {
    const reading = openat(dir, name, (flags & ~O_RDWR) | O_RDONLY);
    if (reading < 0) return reading;
    const fd = this.withFlagsOff(node, reading, () => openat(dir, name, flags));
    close(reading);
    return fd;
  }

  /**
   * Does `work` while the node's immutable and append-only flags are off. They come back also after
   * a kill.
   */
  withFlagsOff(node: number, fd: number, work: () => number): number {
    const flags = getInodeFlags(fd);
    if (flags < 0 || (flags & PROTECTING_FLAGS) === 0) return work();
    this.memory.setRestore(node, flags);
    setInodeFlags(fd, flags & ~PROTECTING_FLAGS);
    try {
      return work();
    } finally {
      setInodeFlags(fd, flags);
      this.memory.setRestore(0, 0);
    }
  }

  #restoreFlags(): void {
    const { node, flags } = this.memory.restore;
    if (node === 0) return;
    if (this.tree.exists(node)) {
      const opened = this.open(node);
      if (typeof opened !== "number") {
        setInodeFlags(opened.fd, flags);
        this.close(node, opened);
      }
    }
    this.memory.setRestore(0, 0);
  }

  /** The node, whatever its type, or `-errno`. Give it back with {@link close}. */
  open(node: number): Opened | number {
    const type = this.tree.type(node);
    let fd: number;
    if (type === TYPE_DIRECTORY) fd = this.directory(node);
    else if (type === TYPE_REGULAR) fd = this.file(node);
    else fd = this.#openByAnyName(node, O_PATH);
    if (fd < 0) return fd;
    return { fd, isPathOnly: type !== TYPE_DIRECTORY && type !== TYPE_REGULAR };
  }

  close(_node: number, opened: Opened): void {
    if (opened.isPathOnly) close(opened.fd);
  }

  /** What new entries of the directory inherit is to be looked at again. */
  inheritanceChanged(node: number): void {
    const entry = this.#directories.get(node);
    if (entry === undefined) return;
    entry.inheritsAcl = undefined;
    entry.inheritsFlags = undefined;
  }

  /** Keeps the descriptor of a file that was just made. */
  keepFile(node: number, fd: number): void {
    this.#files.put(node, fd);
  }

  /** The node's slot will be free. */
  removed(node: number): void {
    this.#forget(node);
    this.#events.removed(node);
  }

  #forget(node: number): void {
    this.pending.drop(node);
    this.#files.forget(node);
    this.#directories.forget(node);
  }

  /** Closes descriptors that may not be of what is at the node's place. */
  reopen(node: number): void {
    this.#files.evict(node);
    this.#directories.evict(node);
  }

  /** What follows on the replica will disturb the node's time; it is put right later. */
  keepTime(node: number): void {
    if (this.pending.has(node)) return;
    const opened = this.open(node);
    if (typeof opened === "number") return;
    if (this.status.of(opened.fd) === 0) {
      this.pending.set(node, this.status.mtimeSec, this.status.mtimeNsec);
    }
    this.close(node, opened);
  }

  #setTimes(node: number, mtime: Time, atime: Time | undefined): void {
    const { tree } = this;
    // A killed process may have left a time for a node that was never there, or is gone.
    if (!tree.exists(node) || tree.has(node, NodeFlag.absent)) return;
    const fd = this.#files.get(node)?.fd ?? this.#directories.get(node)?.fd;
    const result =
      fd === undefined ? this.#setTimesByName(node, mtime, atime) : setTimes(fd, atime, mtime);
    if (result === -EPERM) this.#setTimesProtected(node, mtime, atime);
    else if (result < 0) this.refused(node, "set the time", -result);
  }

  #setTimesByName(node: number, mtime: Time, atime: Time | undefined): number {
    const { tree } = this;
    const mount = tree.mount(node);
    if (node === tree.root(mount)) return setTimes(this.root(mount).rootFd, atime, mtime);
    const link = tree.firstLink(node);
    if (link === 0) return 0;
    const dir = this.directory(tree.directoryOf(link));
    return dir < 0 ? dir : setTimesAt(dir, cString(tree.nameOf(link)), { atime, mtime });
  }

  #setTimesProtected(node: number, mtime: Time, atime: Time | undefined): void {
    const opened = this.open(node);
    if (typeof opened === "number") return;
    const { fd } = opened;
    const result = this.withFlagsOff(node, fd, () => setTimes(fd, atime, mtime));
    if (result < 0) this.refused(node, "set the time", -result);
    this.close(node, opened);
  }

  /**
   * The kernel refused `action` on the node: notes what that means. `isThere`: the node itself was
   * found, only something about it is wrong.
   *
   * @throws {ReplicaUnavailableError} when the op is to be tried again.
   */
  refused(node: number, action: string, errno: number, isThere = false): Refusal {
    if (refusalOf(action, errno) === "unsupported") {
      this.memory.add(Counter.unsupported, 1);
      this.#events.unsupported(node, action, errno);
      return "unsupported";
    }
    this.memory.add(Counter.diverged, 1);
    this.want(node, isThere);
    this.#events.diverged(node, action, errno);
    return "diverged";
  }

  /** Somebody changed the replica, and it is put right already. */
  noteForeign(node: number, what: string): void {
    this.memory.add(Counter.diverged, 1);
    this.#events.diverged(node, what, 0);
  }

  /** Marks the node: the source will be asked for it. */
  want(node: number, isThere: boolean): void {
    const { tree } = this;
    if (!tree.exists(node)) return;
    const isRoot = node === tree.root(tree.mount(node));
    const isDirectory = tree.type(node) === TYPE_DIRECTORY;
    const flags = isDirectory ? WANT_ALL : NodeFlag.wantNode;
    tree.change(() => tree.setFlags(node, isThere || isRoot ? flags : flags | NodeFlag.absent));
    if (!isThere) this.#forget(node);
    this.#events.wanted(node);
  }

  flush(): void {
    this.pending.flushAll();
  }

  /** An op was given up half-way: what is open may be of nodes that are not in the tree. */
  forgetDescriptors(): void {
    this.#files.forgetAll();
    this.#directories.forgetAll();
  }

  closeAll(): void {
    this.#files.evictAll();
    this.#directories.evictAll();
  }
}

const nameBuffers = [Buffer.alloc(256), Buffer.alloc(256)] as const;

/**
 * The name as the kernel wants it, in a buffer that the next call on the same `slot` overwrites.
 */
export function nameZ(name: Uint8Array, slot: 0 | 1 = 0): Uint8Array {
  const buffer = nameBuffers[slot];
  buffer.set(name, 0);
  buffer[name.length] = 0;
  return buffer;
}
