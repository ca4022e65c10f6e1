/**
 * Ops on names: create, link, remove, rename, exchange.
 *
 * A kill may come before, within or after any of them, and the op in hand is then carried out
 * again, on a tree that is as it was. Each is written so that this has the effect of doing it once:
 *
 * - create: an entry that is in the way is removed; after a kill it is the one that was begun, and
 *   still empty.
 * - link: an entry that is the node already is what we want.
 * - remove: an entry that is missing is what we want.
 * - rename: before it, the inode number of what is to be moved is noted as the op's witness. When
 *   the old name is missing and the new one has that inode number, it was done.
 * - exchange: with the inode numbers of both as witnesses, what is where tells how far it came.
 *
 * Nobody else writes to the replica, or if somebody does, what is found different is asked for
 * again.
 */
import { OpKind, type OpView, RENAME_EXCHANGE, TIME_BYTES } from "../model/op.ts";
import type { ResolvedOp } from "../model/resolved-op.ts";
import { actAs } from "../platform/act-as.ts";
import {
  EEXIST,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOSYS,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
} from "../platform/errno.ts";
import {
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  close,
  cString,
  fchmod,
  fchmodat,
  fchownat,
  fgetxattr,
  linkat,
  mkdirat,
  mknodat,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  openat,
  removexattr,
  renameat2,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  symlinkat,
  unlinkat,
} from "../platform/libc.ts";
import { procPath, setTimesAt } from "../platform/replica-files.ts";
import {
  ACL_DEFAULT,
  hasInodeFlags,
  PERMISSIONS,
  removeInheritedAcl,
  removeInheritedFlags,
} from "./attributes.ts";
import type { Descriptor } from "./descriptor-cache.ts";
import { type Disposal, unprotect } from "./disposal.ts";
import { nameZ, type Replica } from "./replica.ts";

const NO_BYTES = Buffer.alloc(0);
const SPECIAL_BITS = 0o6000;
const CREATE_FLAGS = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;

/** What a new entry is made from. */
export interface NewNode {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly rdev: number;
  readonly target: Uint8Array;
}

export class NamespaceApplier {
  readonly #replica: Replica;
  readonly #disposal: Disposal;
  /**
   * The op in hand may have been begun before: by a process that was killed, or when the replica
   * was full.
   */
  isRedo = false;

  constructor(replica: Replica, disposal: Disposal) {
    this.#replica = replica;
    this.#disposal = disposal;
  }

  create(op: OpView, resolved: ResolvedOp): void {
    const replica = this.#replica;
    const { node, directory } = resolved;
    const made = this.make(node, directory, resolved.name, {
      mode: op.mode,
      uid: op.uid,
      gid: op.gid,
      mtimeSec: op.mtimeSec,
      mtimeNsec: op.mtimeNsec,
      rdev: op.extra,
      target: op.kind === OpKind.create ? op.name2 : NO_BYTES,
    });
    if (made < 0) replica.refused(node, "create", -made);
  }

  /**
   * Makes the entry with its attributes; of a regular file, keeps the descriptor. Returns 0 or
   * `-errno`.
   */
  make(node: number, directory: number, name: Uint8Array, from: NewNode): number {
    const replica = this.#replica;
    for (let attempt = 0; ; attempt++) {
      const entry = replica.directoryEntry(directory);
      if (typeof entry === "number") {
        replica.refused(directory, "open the directory", -entry);
        return entry;
      }
      const nameAt = nameZ(name);
      const result = this.#tryMake(entry, nameAt, from);
      if (result === -ENOENT && attempt === 0) {
        // The descriptor is of a directory that somebody has removed.
        replica.reopen(directory);
        continue;
      }
      if (result === -EEXIST && attempt < 2) {
        const cleared = this.#makeWay(node, directory, entry.fd, name);
        if (cleared < 0) return cleared;
        continue;
      }
      if (result === -EPERM && attempt < 2 && unprotect(entry.fd, nameAt)) continue;
      if (result < 0) return result;
      return this.#attributes(node, entry, nameAt, from, result);
    }
  }

  #tryMake({ fd }: Descriptor, name: Uint8Array, from: NewNode): number {
    const permissions = from.mode & PERMISSIONS;
    switch (from.mode & S_IFMT) {
      case S_IFREG:
        return actAs(from.uid, from.gid, () =>
          openat(fd, name, CREATE_FLAGS, permissions & ~SPECIAL_BITS),
        );
      case S_IFDIR:
        return mkdirat(fd, name, permissions & ~SPECIAL_BITS);
      case S_IFLNK:
        return symlinkat(cString(from.target), fd, name);
      default:
        return mknodat(fd, name, from.mode, from.rdev);
    }
  }

  /** `made`: the descriptor of a regular file. */
  #attributes(
    node: number,
    directory: Descriptor,
    name: Uint8Array,
    from: NewNode,
    made: number,
  ): number {
    const inherits = this.#inheritsAcl(directory);
    const inheritsFlags = this.#inheritsFlags(directory);
    const type = from.mode & S_IFMT;
    const mtime = { sec: from.mtimeSec, nsec: from.mtimeNsec };
    if (type === S_IFREG) {
      let result = this.#belongsTo(node, made, from)
        ? 0
        : fchownat(made, NO_NAME, from.uid, from.gid, AT_EMPTY_PATH);
      if (inherits) removeInheritedAcl(made);
      if (inheritsFlags) removeInheritedFlags(made);
      if (result >= 0 && (inherits || (from.mode & SPECIAL_BITS) !== 0)) {
        result = fchmod(made, from.mode & PERMISSIONS);
      }
      if (result < 0) {
        close(made);
        return result;
      }
      this.#replica.keepFile(node, made);
      this.#replica.pending.set(node, mtime.sec, mtime.nsec);
      return 0;
    }
    const { fd } = directory;
    const owned = fchownat(fd, name, from.uid, from.gid, AT_SYMLINK_NOFOLLOW);
    if (owned < 0) return owned;
    if (inherits) removeAclAt(fd, name);
    if (inheritsFlags && type === S_IFDIR) removeFlagsAt(fd, name);
    const exact = type === S_IFDIR || inherits || (from.mode & SPECIAL_BITS) !== 0;
    if (type !== S_IFLNK && exact) {
      const moded = fchmodat(fd, name, from.mode & PERMISSIONS);
      if (moded < 0) return moded;
    }
    this.#replica.pending.drop(node);
    this.#noteNumber(node, fd, name);
    return setTimesAt(fd, name, { atime: mtime, mtime });
  }

  /**
   * A setgid directory, or an option of the mount, gives another group than that of the maker. Also
   * notes the file's number.
   */
  #belongsTo(node: number, fd: number, { uid, gid }: NewNode): boolean {
    const { status, tree } = this.#replica;
    if (status.of(fd) < 0) return false;
    tree.setReplicaIno(node, status.ino);
    return status.uid === uid && status.gid === gid;
  }

  #noteNumber(node: number, dir: number, name: Uint8Array): void {
    const { status, tree } = this.#replica;
    if (status.at(dir, name) === 0) tree.setReplicaIno(node, status.ino);
  }

  #inheritsAcl(directory: Descriptor): boolean {
    directory.inheritsAcl ??= fgetxattr(directory.fd, ACL_DEFAULT, NO_BYTES, 0) >= 0;
    return directory.inheritsAcl;
  }

  #inheritsFlags(directory: Descriptor): boolean {
    directory.inheritsFlags ??= hasInodeFlags(directory.fd);
    return directory.inheritsFlags;
  }

  /** Frees the place for `node`. Returns 0 or `-errno`. */
  #makeWay(node: number, directory: number, dir: number, name: Uint8Array): number {
    const replica = this.#replica;
    const { tree } = replica;
    const root = replica.root(tree.mount(directory));
    const at = nameZ(name, 1);
    if (this.isRedo) return this.#disposal.remove(root, dir, at);
    const path = Buffer.concat([tree.path(directory) ?? NO_BYTES, Buffer.from("/"), name]);
    const result = this.#disposal.clear(root, dir, at, path);
    if (result > 0) replica.noteForeign(node, "something else is in its place");
    return Math.min(result, 0);
  }

  link(resolved: ResolvedOp): void {
    const { node, directory, name, newDirectory, newName } = resolved;
    const result = this.makeLink(
      node,
      { directory, name },
      { directory: newDirectory, name: newName },
    );
    if (result < 0) this.#replica.refused(node, "link", -result);
  }

  /** Makes the `place` a name of the node that is at `existing`. Returns 0 or `-errno`. */
  makeLink(node: number, place: Place, existing: Place): number {
    const replica = this.#replica;
    for (let attempt = 0; ; attempt++) {
      const from = replica.directory(existing.directory);
      if (from < 0) return from;
      const to = replica.directory(place.directory);
      if (to < 0) {
        replica.refused(place.directory, "open the directory", -to);
        return 0;
      }
      const fromName = nameZ(existing.name);
      const result = linkat(from, fromName, to, nameZ(place.name, 1), 0);
      if (result === -EPERM && attempt < 2 && unprotect(from, fromName)) continue;
      if (result === -ENOENT && attempt === 0) {
        replica.reopen(existing.directory);
        replica.reopen(place.directory);
        continue;
      }
      if (result !== -EEXIST || attempt >= 2) return result;
      if (this.#isSame(from, fromName, to, nameZ(place.name, 1))) return 0;
      const cleared = this.#makeWay(node, place.directory, to, place.name);
      if (cleared < 0) return cleared;
    }
  }

  #isSame(dir: number, name: Uint8Array, otherDir: number, otherName: Uint8Array): boolean {
    const { status } = this.#replica;
    if (status.at(dir, name) < 0) return false;
    const { ino } = status;
    return status.at(otherDir, otherName) === 0 && status.ino === ino;
  }

  remove(op: OpView, resolved: ResolvedOp): void {
    const replica = this.#replica;
    const { directory, node } = resolved;
    const dir = replica.directory(directory);
    if (dir < 0) replica.refused(directory, "open the directory", -dir);
    else {
      const result = this.#removeEntry(op, resolved, dir);
      if (result < 0) replica.refused(node, "remove", -result);
    }
  }

  #removeEntry(op: OpView, resolved: ResolvedOp, dir: number): number {
    const { node, name, directory, isDirectory } = resolved;
    const at = nameZ(name);
    const flags = isDirectory ? AT_REMOVEDIR : 0;
    let result = unlinkat(dir, at, flags);
    if (result === -EPERM && unprotect(dir, at)) result = unlinkat(dir, at, flags);
    if (result === -ENOENT && !this.isRedo) this.#replica.noteForeign(node, "is missing");
    if (result >= 0 || result === -ENOENT) return 0;
    // A directory that has left the tree with all that it holds, by a rename.
    const root = this.#replica.root(this.#replica.tree.mount(directory));
    if (op.kind === OpKind.rename && result === -ENOTEMPTY) {
      return this.#disposal.remove(root, dir, at);
    }
    const inTheWay = result === -ENOTEMPTY || result === -EISDIR || result === -ENOTDIR;
    return inTheWay ? this.#makeWay(node, directory, dir, name) : result;
  }

  rename(op: OpView, resolved: ResolvedOp): void {
    const replica = this.#replica;
    const { node, directory, newDirectory } = resolved;
    let from = replica.directory(directory);
    let to = from < 0 ? from : replica.directory(newDirectory);
    if (from >= 0 && to >= 0 && !this.#isReachable(from, to)) {
      replica.reopen(directory);
      replica.reopen(newDirectory);
      from = replica.directory(directory);
      to = from < 0 ? from : replica.directory(newDirectory);
    }
    if (from < 0) replica.refused(directory, "open the directory", -from);
    if (from >= 0 && to < 0) replica.refused(newDirectory, "open the directory", -to);
    if (from < 0 || to < 0) {
      replica.refused(node, "rename", ENOENT);
      this.#clearRenamed(resolved);
    } else {
      const result = this.#renameEntry(op.lsn, resolved, from, to);
      if (result < 0) {
        // The node will be brought to its new place; nothing of the old may stay there.
        this.#makeWay(node, newDirectory, to, resolved.newName);
        replica.refused(node, "rename", -result);
      }
    }
  }

  /** False when one of the two open directories has been removed by somebody. */
  #isReachable(dir: number, other: number): boolean {
    const { status } = this.#replica;
    if (status.of(dir) < 0 || status.nlink === 0) return false;
    return status.of(other) === 0 && status.nlink > 0;
  }

  /**
   * Where one of the directories is missing, the other may hold what must not be there any more.
   */
  #clearRenamed(resolved: ResolvedOp): void {
    const { node, directory, name, newDirectory, newName } = resolved;
    for (const place of [
      { directory, name },
      { directory: newDirectory, name: newName },
    ]) {
      const dir = this.#replica.directory(place.directory);
      if (dir >= 0) this.#makeWay(node, place.directory, dir, place.name);
    }
  }

  #renameEntry(lsn: number, resolved: ResolvedOp, from: number, to: number): number {
    const { memory, status } = this.#replica;
    const { node, name, newName, newDirectory } = resolved;
    const wasBegun = memory.intentLsn === lsn;
    if (!wasBegun) {
      const found = status.at(from, nameZ(name));
      if (found < 0) return found;
      memory.setIntent(lsn, status.ino);
    }
    for (let attempt = 0; ; attempt++) {
      const oldName = nameZ(name);
      const toName = nameZ(newName, 1);
      const result = renameat2(from, oldName, to, toName, 0);
      if (result >= 0) return 0;
      if (result === -ENOENT && wasBegun) {
        return status.at(to, toName) === 0 && status.ino === memory.witness ? 0 : result;
      }
      if (attempt >= 2) return result;
      if (IN_THE_WAY.has(result)) {
        const cleared = this.#makeWay(node, newDirectory, to, newName);
        if (cleared < 0) return cleared;
      } else if (result !== -EPERM || !(unprotect(from, oldName) || unprotect(to, toName))) {
        return result;
      }
    }
  }

  exchange(op: OpView, resolved: ResolvedOp): void {
    const replica = this.#replica;
    const { node, other, directory, newDirectory } = resolved;
    const from = replica.directory(directory);
    const to = from < 0 ? from : replica.directory(newDirectory);
    const result = to < 0 ? to : this.#exchangeEntries(op.lsn, resolved, from, to);
    if (result < 0) {
      this.#clearRenamed(resolved);
      replica.refused(node, "exchange", -result);
      replica.refused(other, "exchange", -result);
    }
  }

  #exchangeEntries(lsn: number, resolved: ResolvedOp, from: number, to: number): number {
    const { memory, status } = this.#replica;
    const oldName = nameZ(resolved.name);
    const newName = nameZ(resolved.newName, 1);
    if (memory.intentLsn !== lsn) {
      const first = status.at(from, oldName);
      if (first < 0) return first;
      const { ino } = status;
      const second = status.at(to, newName);
      if (second < 0) return second;
      memory.setIntent(lsn, ino, status.ino);
    }
    if (this.#inoAt(from, oldName) === memory.secondWitness) return 0;
    const result = renameat2(from, oldName, to, newName, RENAME_EXCHANGE);
    if (result !== -EINVAL && result !== -ENOSYS) return result;
    return this.#exchangeByHand(resolved, from, to);
  }

  #inoAt(dir: number, name: Uint8Array): number {
    const { status } = this.#replica;
    return status.at(dir, name) === 0 ? status.ino : -1;
  }

  /** Three renames, each done only if it has not been. */
  #exchangeByHand(resolved: ResolvedOp, from: number, to: number): number {
    const { memory, tree } = this.#replica;
    const root = this.#replica.root(tree.mount(resolved.directory));
    const oldName = nameZ(resolved.name);
    const newName = nameZ(resolved.newName, 1);
    const steps: [number, Uint8Array, number, Uint8Array, number][] = [
      [from, oldName, root.namelessFd, EXCHANGE_NAME, memory.witness],
      [to, newName, from, oldName, memory.secondWitness],
      [root.namelessFd, EXCHANGE_NAME, to, newName, memory.witness],
    ];
    for (const [dir, name, newDir, target, ino] of steps) {
      if (this.#inoAt(dir, name) !== ino) continue;
      const result = renameat2(dir, name, newDir, target, 0);
      if (result < 0) return result;
    }
    return 0;
  }

  /**
   * The op's body has the time of its parent, and for a rename behind it that of the new parent.
   */
  directoryTimes(op: OpView, { parent, newParent }: ResolvedOp): void {
    const { tree, pending } = this.#replica;
    if (parent !== 0 && tree.exists(parent)) pending.set(parent, op.timeSec(0), op.timeNsec(0));
    if (newParent === 0 || !tree.exists(newParent)) return;
    pending.set(newParent, op.timeSec(TIME_BYTES), op.timeNsec(TIME_BYTES));
  }
}

export interface Place {
  readonly directory: number;
  readonly name: Uint8Array;
}

const AT_EMPTY_PATH = 0x1000;
const NO_NAME = Buffer.from([0]);
const EXCHANGE_NAME = cString("exchange");
const IN_THE_WAY: ReadonlySet<number> = new Set([-EEXIST, -ENOTEMPTY, -EISDIR, -ENOTDIR]);

/** As {@link removeInheritedAcl}, of a new fifo, socket or device. */
function removeAclAt(dir: number, name: Uint8Array): void {
  const fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return;
  for (const acl of [cString("system.posix_acl_access"), ACL_DEFAULT])
    removexattr(procPath(fd), acl);
  close(fd);
}

function removeFlagsAt(dir: number, name: Uint8Array): void {
  const fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return;
  removeInheritedFlags(fd);
  close(fd);
}
