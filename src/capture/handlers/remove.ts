/**
 * Names that go or move: unlink, rmdir, rename. Under the locks of everything that changes, and
 * with a note of what is about to happen, since none of these can simply be done twice.
 */
import { Opcode } from "../../fuse/abi.ts";
import type { Reply, Request } from "../../fuse/message.ts";
import type { Handler } from "../../fuse/session.ts";
import { OP_HEADER_BYTES, OpKind, SETATTR_MTIME, TIME_BYTES } from "../../model/op.ts";
import { EINVAL, ENOENT } from "../../platform/errno.ts";
import { AT_REMOVEDIR, RENAME_EXCHANGE, RENAME_WHITEOUT } from "../../platform/libc.ts";
import { renameat2At, unlinkatAt } from "../../platform/native.ts";
import type { Statx } from "../../platform/statx.ts";
import { NODE_FLAG_HELD_BY_FD } from "../node-table.ts";
import { Past } from "../recorder.ts";
import { type Hold, NO_HOLD, type WorkerContext } from "../worker-context.ts";
import { recordAttributes } from "./attributes.ts";
import { writeNames } from "./create.ts";

const NO_NODE = 0;
const REMOVE_BYTES = OP_HEADER_BYTES + TIME_BYTES + 256;
const RENAME_BYTES = OP_HEADER_BYTES + 2 * TIME_BYTES + 512;

/** A regular file that loses its last name must be kept while somebody may have it open. */
function holdIfLast(context: WorkerContext, statx: Statx): Hold {
  const isLast = statx.isRegular && statx.nlink === 1;
  return isLast ? context.hold(statx.ino) : NO_HOLD;
}

/**
 * After the removal: the connection's hold takes over from our own descriptors. What is not held
 * may have left its number to another node, and was told of with `willGo`. What an engine removed
 * that was killed then stays pinned until another node has its number; who opens it finds it gone.
 */
function afterLoss(context: WorkerContext, ino: number, hold: Hold): void {
  const { beneath } = context;
  if (hold.id === 0) beneath.unpinGone(ino);
  else {
    beneath.nodes.unpin(ino);
    if (!beneath.nodes.hold(ino, hold.id, hold.flags)) context.letGo(hold);
  }
  beneath.purge(ino);
}

function remove(context: WorkerContext, request: Request): number {
  const { beneath, locks, recorder, statx, use } = context;
  const nameEnd = request.nameEnd(0);
  if (nameEnd < 0) return -EINVAL;
  const parent = beneath.ino(request.nodeId);
  const missing = beneath.useDirectory(parent, use);
  if (missing < 0) return missing;
  const past = recorder.past(request);
  const name = request.address(0);
  const found = statx.atAddress(use.fd, name);
  const isGone = found === -ENOENT && past !== Past.none;
  if (found < 0 && !isGone) {
    beneath.release(use);
    return found;
  }
  const ino = isGone ? recorder.witness(0) : statx.ino;
  const left = isGone ? recorder.witness(1) : linksLeft(statx);
  const hold = isGone ? heldBefore(recorder.witness(2)) : holdIfLast(context, statx);
  const begun = recorder.begin(request, REMOVE_BYTES, ino, left, survivingId(hold));
  locks.lockAll(parent, ino, 0, 0);
  const records = recorder.confirm(begun, REMOVE_BYTES);
  const flags = request.opcode === Opcode.rmdir ? AT_REMOVEDIR : 0;
  beneath.willGo(isGone ? NO_NODE : ino);
  const result = isGone ? 0 : unlinkatAt(use.fd, name, flags);
  if (result === 0) {
    if (!records) recorder.lose();
    else if (past !== Past.recorded) {
      recordRemoval(context, { parent, ino, left, name: request.bytes(0, nameEnd) });
    }
  }
  locks.unlockAll();
  if (result === 0 && left === 0) afterLoss(context, ino, hold);
  else context.letGo(hold);
  beneath.release(use);
  recorder.finish();
  return result;
}

/** The id of a hold that outlives the engine, for its successor to find; 0 if this one does not. */
function survivingId(hold: Hold): number {
  return (hold.flags & NODE_FLAG_HELD_BY_FD) === 0 ? hold.id : 0;
}

function heldBefore(id: number): Hold {
  return id <= 0 ? NO_HOLD : { id, flags: 0 };
}

/** How many names the node will have; a directory has one that counts. */
function linksLeft(statx: Statx): number {
  return statx.isDirectory ? 0 : statx.nlink - 1;
}

function recordRemoval(
  context: WorkerContext,
  removal: { parent: number; ino: number; left: number; name: Uint8Array },
): void {
  const { recorder, statx2, use } = context;
  if (statx2.of(use.fd) !== 0) return;
  const op = recorder.start(OpKind.unlink, context.mount, removal.ino);
  op.parent = removal.parent;
  op.extra = removal.left;
  op.setTime(0, statx2.mtimeSec, statx2.mtimeNsec);
  const nothing = removal.name.subarray(0, 0);
  writeNames(op, TIME_BYTES, { first: removal.name, second: nothing });
  recorder.commit();
}

/** The parts of RENAME and RENAME2, and what is found at both names. */
interface Renaming {
  readonly parent: number;
  readonly newParent: number;
  readonly nameAt: number;
  readonly nameEnd: number;
  readonly newEnd: number;
  readonly flags: number;
}

function decodeRename(context: WorkerContext, request: Request): Renaming | undefined {
  const nameAt = request.opcode === Opcode.rename2 ? 16 : 8;
  const nameEnd = request.nameEnd(nameAt);
  const newEnd = nameEnd < 0 ? -1 : request.nameEnd(nameEnd + 1);
  if (newEnd < 0) return undefined;
  return {
    parent: context.beneath.ino(request.nodeId),
    newParent: context.beneath.ino(request.u64(0)),
    nameAt,
    nameEnd,
    newEnd,
    flags: request.opcode === Opcode.rename2 ? request.u32(8) : 0,
  };
}

function rename(context: WorkerContext, request: Request): number {
  const { beneath, use, use2 } = context;
  const renaming = decodeRename(context, request);
  if (renaming === undefined) return -EINVAL;
  const missing = beneath.useDirectory(renaming.parent, use);
  if (missing < 0) return missing;
  const error = beneath.useDirectory(renaming.newParent, use2);
  if (error < 0) {
    beneath.release(use);
    return error;
  }
  const result = renameBetween(context, request, renaming);
  beneath.release(use);
  beneath.release(use2);
  context.recorder.finish();
  return result;
}

/** Both directories are in `use` and `use2`. */
function renameBetween(context: WorkerContext, request: Request, renaming: Renaming): number {
  const { beneath, locks, recorder, statx, statx2, use, use2 } = context;
  const from = request.address(renaming.nameAt);
  const to = request.address(renaming.nameEnd + 1);
  const past = recorder.past(request);
  const found = statx.atAddress(use.fd, from);
  // Done already by the engine that was killed: the old name leads elsewhere now.
  const isDone =
    past !== Past.none && (found === -ENOENT || (found === 0 && statx.ino !== recorder.witness(0)));
  if (isDone && statx.atAddress(use2.fd, to) < 0) return -ENOENT;
  if (found < 0 && !isDone) return found;
  const ino = isDone ? recorder.witness(0) : statx.ino;
  const target = isDone ? recorder.witness(1) : targetOf(statx2, use2.fd, to);
  // Two names of one node: the kernel does nothing, and so is nothing to record.
  if (ino === target) return renameat2At(use.fd, from, use2.fd, to, renaming.flags);
  const isLoss = isDone ? recorder.witness(2) > 0 : takesLastName(statx2, target, renaming.flags);
  const hold = isDone ? heldBefore(recorder.witness(2) - 1) : holdTarget(context, isLoss);
  const loss = isLoss ? 1 + survivingId(hold) : 0;
  const begun = recorder.begin(request, RENAME_BYTES, ino, target, loss);
  locks.lockAll(renaming.parent, renaming.newParent, ino, target);
  const records = recorder.confirm(begun, RENAME_BYTES);
  beneath.willGo(isDone ? NO_NODE : target);
  const result = isDone ? 0 : renameat2At(use.fd, from, use2.fd, to, renaming.flags);
  if (result === 0) {
    if (!records) recorder.lose();
    else if (past !== Past.recorded) recordRename(context, request, { renaming, ino, target });
  } else if ((renaming.flags & RENAME_WHITEOUT) !== 0) {
    if (records) recordAttempt(context, renaming.parent);
    // The kernel takes it that nothing has changed.
    context.invalidateAttributes(request.nodeId);
  }
  locks.unlockAll();
  if (result === 0 && isLoss) afterLoss(context, target, hold);
  else context.letGo(hold);
  return result;
}

/** ext4 puts a whiteout in place before it looks further, and takes it back: times change. */
function recordAttempt(context: WorkerContext, parent: number): void {
  const { statx, use } = context;
  if (statx.of(use.fd) === 0) recordAttributes(context, parent, SETATTR_MTIME);
}

function holdTarget(context: WorkerContext, isLoss: boolean): Hold {
  const { statx2 } = context;
  return isLoss && statx2.isRegular ? context.hold(statx2.ino) : NO_HOLD;
}

/** Inode number at the new name, 0 when it is free. */
function targetOf(statx: Statx, dir: number, name: number): number {
  return statx.atAddress(dir, name) === 0 ? statx.ino : 0;
}

/** Whether the rename takes the last name of the node at the new name. */
function takesLastName(statx: Statx, target: number, flags: number): boolean {
  if (target === 0 || (flags & RENAME_EXCHANGE) !== 0) return false;
  return statx.isDirectory || statx.nlink === 1;
}

function recordRename(
  context: WorkerContext,
  request: Request,
  done: { renaming: Renaming; ino: number; target: number },
): void {
  const { recorder, statx, statx2, use, use2 } = context;
  const { renaming } = done;
  const op = recorder.start(OpKind.rename, context.mount, done.ino);
  op.parent = renaming.parent;
  op.newParent = renaming.newParent;
  op.extra = done.target;
  op.flags = renaming.flags & (RENAME_EXCHANGE | RENAME_WHITEOUT);
  op.mode = statx.mode;
  op.uid = statx.uid;
  op.gid = statx.gid;
  op.setMtime(statx.mtimeSec, statx.mtimeNsec);
  if (statx2.of(use.fd) === 0) op.setTime(0, statx2.mtimeSec, statx2.mtimeNsec);
  if (statx2.of(use2.fd) === 0) op.setTime(TIME_BYTES, statx2.mtimeSec, statx2.mtimeNsec);
  writeNames(op, 2 * TIME_BYTES, {
    first: request.bytes(renaming.nameAt, renaming.nameEnd),
    second: request.bytes(renaming.nameEnd + 1, renaming.newEnd),
  });
  recorder.commit();
}

export function removeHandlers(context: WorkerContext): [number, Handler][] {
  const removal: Handler = (request) => remove(context, request);
  const renaming: Handler = (request: Request, _reply: Reply) => rename(context, request);
  return [
    [Opcode.unlink, removal],
    [Opcode.rmdir, removal],
    [Opcode.rename, renaming],
    [Opcode.rename2, renaming],
  ];
}
