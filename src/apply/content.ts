/**
 * Ops on a node's data and attributes. All of them may be repeated: an op that was cut short by a
 * kill is carried out again, before anything that came after it.
 */
import { readU64 } from "../base/bytes.ts";
import { NODE_WANTED, NodeFlag, TYPE_DIRECTORY, TYPE_REGULAR } from "../model/node-tree.ts";
import {
  OpKind,
  type OpView,
  SETATTR_ATIME,
  SETATTR_GID,
  SETATTR_MTIME,
  SETATTR_SIZE,
  SETATTR_UID,
} from "../model/op.ts";
import type { ResolvedOp } from "../model/resolved-op.ts";
import { EINVAL, EIO, ENOSYS, EOPNOTSUPP, EPERM, EXDEV } from "../platform/errno.ts";
import { copyFileRange, fallocate, ftruncate, pread, pwrite } from "../platform/libc.ts";
import { pwriteAt } from "../platform/native.ts";
import {
  isAcl,
  isCapability,
  makeInodeFlags,
  makeProjectId,
  removeXattr,
  setMode,
  setNodeTimes,
  setOwner,
  setXattr,
} from "./attributes.ts";
import type { Opened, Replica } from "./replica.ts";

const FALLOC_KEEP_SIZE = 1;
const FALLOC_PUNCH_HOLE = 2;
const FALLOC_ZERO_RANGE = 16;
const OWNER_NONE = 0xffffffff;
const CHUNK_BYTES = 1 << 20;
const chunk = Buffer.alloc(CHUNK_BYTES);
const zeros = Buffer.alloc(CHUNK_BYTES);

export class ContentApplier {
  readonly #replica: Replica;
  /**
   * Address of the memory that the ops' views are on, for writing without a copy and without a
   * view.
   */
  readonly #recordsAddress: number;
  readonly #isUnproven: (node: number) => boolean;

  constructor(replica: Replica, recordsAddress: number, isUnproven: (node: number) => boolean) {
    this.#replica = replica;
    this.#recordsAddress = recordsAddress;
    this.#isUnproven = isUnproven;
  }

  apply(op: OpView, { node, other }: ResolvedOp): void {
    if (op.kind === OpKind.write) {
      this.#write(op, node);
      return;
    }
    if (op.kind === OpKind.setattr) {
      this.#setattr(op, node);
      return;
    }
    if (op.kind === OpKind.fallocate) {
      this.#fallocate(op, node);
      return;
    }
    if (op.kind === OpKind.copy) {
      this.#copy(op, node, other);
      return;
    }
    if (op.kind === OpKind.setflags) {
      this.#setflags(op, node);
      return;
    }
    this.#xattr(op, node);
  }

  #write(op: OpView, node: number): void {
    const replica = this.#replica;
    const fd = replica.file(node);
    if (fd < 0) {
      replica.refused(node, "open for writing", -fd);
      return;
    }
    const result = this.writeData(op, fd, node);
    if (result < 0) {
      replica.refused(node, "write", -result, true);
      return;
    }
    replica.pending.set(node, op.mtimeSec, op.mtimeNsec);
  }

  /** The op's data at the op's offset. Returns 0 or `-errno`. */
  writeData(op: OpView, fd: number, node: number): number {
    const { length, offset } = op;
    const address = this.#recordsAddress + op.body(0);
    let done = 0;
    while (done < length) {
      let wrote = pwriteAt(fd, address + done, length - done, offset + done);
      if (wrote === -EPERM) {
        wrote = this.#replica.withFlagsOff(node, fd, () =>
          pwriteAt(fd, address + done, length - done, offset + done),
        );
      }
      if (wrote < 0) return wrote;
      if (wrote === 0) return -EIO;
      done += wrote;
    }
    return 0;
  }

  #setattr(op: OpView, node: number): void {
    const replica = this.#replica;
    const opened = replica.open(node);
    if (typeof opened === "number") {
      replica.refused(node, "open", -opened);
      return;
    }
    const valid = op.setattrValid;
    const isRegular = replica.tree.type(node) === TYPE_REGULAR;
    const check = (result: number, action: string) => {
      if (result < 0) replica.refused(node, action, -result, true);
    };
    const change = (work: () => number, action: string) =>
      check(this.#unhindered(node, opened, work), action);
    if ((valid & SETATTR_SIZE) !== 0 && isRegular) {
      change(() => ftruncate(opened.fd, op.setattrSize), "truncate");
      replica.pending.set(node, op.mtimeSec, op.mtimeNsec);
    }
    if ((valid & (SETATTR_UID | SETATTR_GID)) !== 0) {
      const uid = (valid & SETATTR_UID) === 0 ? OWNER_NONE : op.uid;
      const gid = (valid & SETATTR_GID) === 0 ? OWNER_NONE : op.gid;
      change(() => setOwner(opened, uid, gid), "change the owner");
    }
    // A change of owner or size may have cleared bits of the mode; the op has the mode that came
    // out of it.
    if ((valid & ~(SETATTR_ATIME | SETATTR_MTIME)) !== 0) {
      change(() => setMode(opened, op.mode), "change the mode");
    }
    if ((valid & (SETATTR_ATIME | SETATTR_MTIME)) !== 0)
      change(() => this.#times(op, opened), "set times");
    if ((valid & SETATTR_MTIME) !== 0) replica.pending.drop(node);
    else if ((valid & SETATTR_ATIME) !== 0) replica.pending.dropAtime(node);
    replica.close(node, opened);
  }

  /**
   * The source could do it, so immutable and append-only flags that are in the way are those of a
   * later op: after a power cut ops are applied again that were applied before.
   */
  #unhindered(node: number, opened: Opened, work: () => number): number {
    const result = work();
    if (result !== -EPERM || opened.isPathOnly) return result;
    return this.#replica.withFlagsOff(node, opened.fd, work);
  }

  #times(op: OpView, opened: Opened): number {
    const valid = op.setattrValid;
    const atime = { sec: op.timeSec(0), nsec: op.timeNsec(0) };
    const mtime = { sec: op.mtimeSec, nsec: op.mtimeNsec };
    return setNodeTimes(
      opened,
      (valid & SETATTR_ATIME) === 0 ? undefined : atime,
      (valid & SETATTR_MTIME) === 0 ? undefined : mtime,
    );
  }

  #fallocate(op: OpView, node: number): void {
    const replica = this.#replica;
    const fd = replica.file(node);
    if (fd < 0) {
      replica.refused(node, "open for allocating", -fd);
      return;
    }
    const mode = op.extra;
    const opened = { fd, isPathOnly: false };
    const allocate = () => fallocate(fd, mode, op.offset, op.length);
    let result = this.#unhindered(node, opened, allocate);
    if (result === -EOPNOTSUPP) result = this.#fallocateByHand(op, fd, mode);
    if (result < 0) {
      replica.refused(node, "allocate", -result, true);
      return;
    }
    replica.pending.set(node, op.mtimeSec, op.mtimeNsec);
  }

  /** On file systems without it: the same bytes and size, if not the same blocks. */
  #fallocateByHand(op: OpView, fd: number, mode: number): number {
    const { status } = this.#replica;
    const known = status.of(fd);
    if (known < 0) return known;
    const end = op.offset + op.length;
    const { size } = status;
    if ((mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) !== 0) {
      const result = writeZeros(fd, op.offset, Math.min(end, size));
      if (result < 0) return result;
    }
    return end > size && (mode & FALLOC_KEEP_SIZE) === 0 ? ftruncate(fd, end) : 0;
  }

  /** A range that reads as zeros: a hole where the file system has them. Returns 0 or `-errno`. */
  punch(fd: number, offset: number, length: number): number {
    const result = fallocate(fd, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, offset, length);
    if (result !== -EOPNOTSUPP) return result;
    const { status } = this.#replica;
    const known = status.of(fd);
    return known < 0 ? known : writeZeros(fd, offset, Math.min(offset + length, status.size));
  }

  #copy(op: OpView, node: number, source: number): void {
    const replica = this.#replica;
    const { tree } = replica;
    const isMissing = source === 0 || tree.has(source, NodeFlag.absent | NODE_WANTED);
    // Where the data comes from is not on the replica, or not known to be right: ask for the
    // outcome instead. Also where it goes to what has yet to be compared: that may have begun.
    if (isMissing || this.#isUnproven(source)) {
      replica.want(node, true);
      replica.pending.set(node, op.mtimeSec, op.mtimeNsec);
      return;
    }
    const from = replica.file(source);
    if (from < 0) {
      replica.want(node, true);
      replica.refused(source, "open for copying", -from);
      return;
    }
    const to = replica.file(node);
    if (to < 0) {
      replica.refused(node, "open for copying", -to);
      return;
    }
    // Opening the second file may have closed the first.
    const range = { fromOffset: readU64(op.view, op.body(0)), offset: op.offset };
    const result = copyRange(replica.file(source), to, { ...range, length: op.length });
    if (result < 0) {
      replica.refused(node, "copy", -result, true);
      return;
    }
    replica.pending.set(node, op.mtimeSec, op.mtimeNsec);
  }

  #xattr(op: OpView, node: number): void {
    const replica = this.#replica;
    const opened = replica.open(node);
    if (typeof opened === "number") {
      replica.refused(node, "open", -opened);
      return;
    }
    const { name } = op;
    const setting = op.kind === OpKind.setxattr;
    const change = () => (setting ? setXattr(opened, name, op.name2) : removeXattr(opened, name));
    let result = change();
    if (result === -EPERM) result = replica.withFlagsOff(node, opened.fd, change);
    if (result < 0) replica.refused(node, "change an extended attribute", -result, true);
    if (isAcl(name)) {
      replica.inheritanceChanged(node);
      if (setMode(opened, op.mode) < 0) replica.want(node, true);
    }
    if (isCapability(name)) this.#noteCapability(node, setting);
    replica.close(node, opened);
  }

  #noteCapability(node: number, has: boolean): void {
    const { tree } = this.#replica;
    tree.change(() => {
      if (has) tree.setFlags(node, NodeFlag.capability);
      else tree.clearFlags(node, NodeFlag.capability);
    });
  }

  #setflags(op: OpView, node: number): void {
    const replica = this.#replica;
    const isFile = replica.tree.type(node) === TYPE_REGULAR;
    if (!isFile && replica.tree.type(node) !== TYPE_DIRECTORY) return;
    // Of an immutable node the time cannot be set any more.
    replica.pending.flush(node);
    const opened = replica.open(node);
    if (typeof opened === "number") {
      replica.refused(node, "open", -opened);
      return;
    }
    const flags = op.view.getUint32(op.body(0), true);
    const projectId = op.view.getUint32(op.body(4), true);
    const result = makeInodeFlags(opened, flags);
    replica.inheritanceChanged(node);
    if (result < 0) replica.refused(node, "set inode flags", -result, true);
    const projectResult = makeProjectId(opened, projectId);
    if (projectResult < 0) replica.refused(node, "set the project id", -projectResult, true);
  }
}

function writeZeros(fd: number, start: number, end: number): number {
  for (let at = start; at < end; ) {
    const wrote = pwrite(fd, zeros, Math.min(CHUNK_BYTES, end - at), at);
    if (wrote < 0) return wrote;
    at += wrote;
  }
  return 0;
}

interface CopyRange {
  readonly fromOffset: number;
  readonly offset: number;
  readonly length: number;
}

const BY_HAND: ReadonlySet<number> = new Set([-EXDEV, -EINVAL, -EOPNOTSUPP, -ENOSYS]);

function copyRange(from: number, to: number, range: CopyRange): number {
  const fromOffset = Buffer.alloc(8);
  const toOffset = Buffer.alloc(8);
  let done = 0;
  while (done < range.length) {
    fromOffset.writeBigInt64LE(BigInt(range.fromOffset + done));
    toOffset.writeBigInt64LE(BigInt(range.offset + done));
    let copied = copyFileRange(from, fromOffset, to, toOffset, range.length - done);
    if (BY_HAND.has(copied)) copied = copyByHand(from, to, range, done);
    if (copied < 0) return copied;
    if (copied === 0) return 0;
    done += copied;
  }
  return 0;
}

function copyByHand(from: number, to: number, range: CopyRange, done: number): number {
  const want = Math.min(CHUNK_BYTES, range.length - done);
  const got = pread(from, chunk, want, range.fromOffset + done);
  return got <= 0 ? got : pwrite(to, chunk, got, range.offset + done);
}
