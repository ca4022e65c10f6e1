/** Attributes of nodes: stat, chmod, chown, truncate, utimens, statfs. */
import {
  ATTR_OUT_BYTES,
  FATTR_ATIME,
  FATTR_ATIME_NOW,
  FATTR_GID,
  FATTR_KILL_SUIDGID,
  FATTR_MODE,
  FATTR_MTIME,
  FATTR_MTIME_NOW,
  FATTR_SIZE,
  FATTR_UID,
  Opcode,
  STATFS_OUT_BYTES,
  STATX_OUT_BYTES,
  writeAttrOut,
} from "../../fuse/abi.ts";
import type { Reply, Request } from "../../fuse/message.ts";
import type { Handler } from "../../fuse/session.ts";
import {
  OP_HEADER_BYTES,
  OpKind,
  type OpView,
  SETATTR_ATIME,
  SETATTR_BYTES,
  SETATTR_GID,
  SETATTR_MODE,
  SETATTR_MTIME,
  SETATTR_SIZE,
  SETATTR_UID,
} from "../../model/op.ts";
import { EPERM } from "../../platform/errno.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  cString,
  EMPTY_PATH,
  fchmod,
  fchmodat,
  fchownat,
  fstatfs,
  ftruncate,
  S_ISGID,
  S_ISUID,
  UTIME_NOW,
  UTIME_OMIT,
  utimensat,
} from "../../platform/libc.ts";
import { writeI64 } from "../../base/bytes.ts";
import { supplementaryGroups } from "../../platform/processes.ts";
import type { Statx } from "../../platform/statx.ts";
import type { NodeUse } from "../beneath.ts";
import { Past } from "../recorder.ts";
import { VALID_SECONDS, type WorkerContext } from "../worker-context.ts";

const S_IXGRP = 0o010;
const S_IWGRP = 0o020;
const S_IWOTH = 0o002;
const NO_CHANGE = 0xffffffff;
/** Of an op that {@link fillAttributes} fills. */
export const SET_OP_BYTES: number = OP_HEADER_BYTES + SETATTR_BYTES;

function getattr(context: WorkerContext, request: Request, reply: Reply): number {
  const { beneath, use, statx } = context;
  const error = beneath.usePlace(beneath.ino(request.nodeId), use);
  if (error < 0) return error;
  const failed = statx.of(use.fd);
  beneath.release(use);
  if (failed < 0) return failed;
  writeAttrOut(reply.view, reply.at(0), VALID_SECONDS, statx);
  reply.length = ATTR_OUT_BYTES;
  return 0;
}

/** statx(2) with more than the attributes of GETATTR, which is the birth time. */
function statxRequest(context: WorkerContext, request: Request, reply: Reply): number {
  const { beneath, use, statx } = context;
  const error = beneath.usePlace(beneath.ino(request.nodeId), use);
  if (error < 0) return error;
  const failed = statx.of(use.fd);
  beneath.release(use);
  if (failed < 0) return failed;
  reply.memory.bytes.fill(0, reply.at(0), reply.at(STATX_OUT_BYTES));
  reply.setU64(0, VALID_SECONDS);
  reply.memory.bytes.set(statx.raw, reply.at(32));
  reply.length = STATX_OUT_BYTES;
  return 0;
}

const fileStatus = Buffer.alloc(120);
const fileStatusView = new DataView(fileStatus.buffer, fileStatus.byteOffset);

/** `struct statfs` of x86-64 to `struct fuse_kstatfs`. */
function statfs(context: WorkerContext, _request: Request, reply: Reply): number {
  const error = fstatfs(context.beneath.rootFd, fileStatus);
  if (error < 0) return error;
  const from = fileStatusView;
  const { view } = reply;
  for (let i = 0; i < 5; i++) {
    view.setBigUint64(reply.at(i * 8), from.getBigUint64(16 + i * 8, true), true);
  }
  reply.setU32(40, Number(from.getBigInt64(8, true))); // block size
  reply.setU32(44, Number(from.getBigInt64(64, true))); // longest name
  reply.setU32(48, Number(from.getBigInt64(72, true))); // fragment size
  for (let at = 52; at < STATFS_OUT_BYTES; at += 4) reply.setU32(at, 0);
  reply.length = STATFS_OUT_BYTES;
  return 0;
}

/** Who asks. Read it before anything is recorded: the record may be made where the request lies. */
export interface Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
}

export function callerOf({ uid, gid, pid }: Request): Caller {
  return { uid, gid, pid };
}

/** Root counts as in every group, by CAP_FSETID. */
function isInGroup({ uid, gid, pid }: Caller, group: number): boolean {
  return uid === 0 || gid === group || supplementaryGroups(pid).includes(group);
}

/** The mode without the set-ID bits that a change by a caller without CAP_FSETID takes away. */
function withoutSetIds(caller: Caller, { mode, gid }: Statx): number {
  const isSetgid = (mode & S_ISGID) !== 0;
  const keepsSetgid = isSetgid && (mode & S_IXGRP) === 0 && isInGroup(caller, gid);
  return mode & ~S_ISUID & ~(keepsSetgid ? 0 : S_ISGID);
}

const ownPath = (fd: number): Uint8Array => cString(`/proc/self/fd/${fd}`);

/** chmod of any node, through the descriptor we have. */
export function changeMode(use: NodeUse, mode: number): number {
  return use.real ? fchmod(use.fd, mode) : fchmodat(AT_FDCWD, ownPath(use.fd), mode);
}

const times = Buffer.alloc(32);
const timesView = new DataView(times.buffer, times.byteOffset);

function setTimes(request: Request, use: NodeUse, valid: number): number {
  writeTime(request, 0, { now: FATTR_ATIME_NOW, given: FATTR_ATIME, valid, sec: 32, nsec: 56 });
  writeTime(request, 16, { now: FATTR_MTIME_NOW, given: FATTR_MTIME, valid, sec: 40, nsec: 60 });
  return utimensat(use.fd, EMPTY_PATH, times, AT_EMPTY_PATH);
}

function writeTime(
  request: Request,
  at: number,
  from: { now: number; given: number; valid: number; sec: number; nsec: number },
): void {
  const isNow = (from.valid & from.now) !== 0;
  const isGiven = (from.valid & from.given) !== 0;
  writeI64(timesView, at, isGiven && !isNow ? request.i64(from.sec) : 0);
  const given = isGiven ? request.u32(from.nsec) : UTIME_OMIT;
  writeI64(timesView, at + 8, isNow ? UTIME_NOW : given);
}

/**
 * A request to change nothing takes set-ID bits away. The kernel sends it for chown(file, -1, -1),
 * which is the owner's to do, and before a write, by anybody who may write.
 */
function mayChangeNothing(context: WorkerContext, request: Request): boolean {
  const { statx, use } = context;
  if (request.uid === 0 || statx.of(use.fd) < 0) return true;
  const { mode, uid, gid, isDirectory } = statx;
  const hasSetIds = !isDirectory && (mode & (S_ISUID | S_ISGID)) !== 0;
  if (!hasSetIds || request.uid === uid || (mode & S_IWOTH) !== 0) return true;
  return (mode & S_IWGRP) !== 0 && isInGroup(callerOf(request), gid);
}

/**
 * Makes the changes in the order that leaves what the caller asked for: size, owner, mode, times.
 */
function applyChanges(context: WorkerContext, request: Request, valid: number): number {
  const { use } = context;
  if ((valid & FATTR_SIZE) !== 0) {
    const error = ftruncate(use.fd, request.u64(16));
    if (error < 0) return error;
  }
  const owns = (valid & (FATTR_UID | FATTR_GID)) !== 0;
  // chown(file, -1, -1) changes nothing but ctime; it comes with no bit set.
  if (valid === 0 && !mayChangeNothing(context, request)) return -EPERM;
  if (owns || valid === 0) {
    const uid = (valid & FATTR_UID) !== 0 ? request.u32(76) : NO_CHANGE;
    const gid = (valid & FATTR_GID) !== 0 ? request.u32(80) : NO_CHANGE;
    const error = fchownat(use.fd, EMPTY_PATH, uid, gid, AT_EMPTY_PATH);
    if (error < 0) return error;
  }
  if ((valid & FATTR_MODE) !== 0) {
    const error = changeMode(use, request.u32(68) & 0o7777);
    if (error < 0) return error;
  }
  const isTimed = FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW;
  return (valid & isTimed) === 0 ? 0 : setTimes(request, use, valid);
}

/**
 * Takes set-ID bits away where the kernel said so and the file has them; `statx` holds the status.
 */
export function killSetIds(context: WorkerContext, use: NodeUse, caller: Caller): boolean {
  const { statx } = context;
  if ((statx.mode & (S_ISUID | S_ISGID)) === 0) return false;
  const mode = withoutSetIds(caller, statx);
  if (!statx.isRegular || mode === statx.mode) return false;
  return changeMode(use, mode & 0o7777) === 0 && statx.of(use.fd) === 0;
}

/** A setattr op that was started, of a node that is as `statx` has it. `valid`: SETATTR_*. */
export function fillAttributes(op: OpView, statx: Statx, valid: number): void {
  op.mode = statx.mode;
  op.uid = statx.uid;
  op.gid = statx.gid;
  op.setMtime(statx.mtimeSec, statx.mtimeNsec);
  op.setTime(0, statx.atimeSec, statx.atimeNsec);
  op.setSetattr(statx.size, valid);
  op.size = SET_OP_BYTES;
}

/** Records the node's attributes as `statx` has them. `valid`: SETATTR_*. */
export function recordAttributes(context: WorkerContext, ino: number, valid: number): void {
  const { statx, recorder } = context;
  fillAttributes(recorder.start(OpKind.setattr, context.mount, ino), statx, valid);
  recorder.commit();
}

/** Which attributes an op must carry: a change of size or owner changes others with it. */
function recordedValid(valid: number): number {
  // chown(file, -1, -1) takes set-ID bits away all the same.
  let out = valid === 0 ? SETATTR_MODE : 0;
  if ((valid & FATTR_SIZE) !== 0) out |= SETATTR_SIZE | SETATTR_MTIME | SETATTR_MODE;
  if ((valid & (FATTR_UID | FATTR_GID)) !== 0) out |= SETATTR_UID | SETATTR_GID | SETATTR_MODE;
  if ((valid & FATTR_MODE) !== 0) out |= SETATTR_MODE;
  if ((valid & (FATTR_ATIME | FATTR_ATIME_NOW)) !== 0) out |= SETATTR_ATIME;
  if ((valid & (FATTR_MTIME | FATTR_MTIME_NOW)) !== 0) out |= SETATTR_MTIME;
  return out;
}

function setattr(context: WorkerContext, request: Request, reply: Reply): number {
  const { beneath, locks, recorder, statx, use } = context;
  const valid = request.u32(0);
  const ino = beneath.ino(request.nodeId);
  const error =
    (valid & FATTR_SIZE) !== 0
      ? beneath.useFile(ino, use, { write: true })
      : beneath.usePlace(ino, use);
  if (error < 0) return error;
  const past = recorder.past(request);
  const begun = recorder.begin(request, SET_OP_BYTES);
  locks.lock(ino);
  const records = recorder.confirm(begun, SET_OP_BYTES);
  let result = past === Past.recorded ? 0 : applyChanges(context, request, valid);
  if (result === 0) result = statx.of(use.fd);
  if (result === 0) {
    let changed = recordedValid(valid);
    const kills = (valid & FATTR_KILL_SUIDGID) !== 0 || (valid === 0 && request.uid !== 0);
    if (kills && killSetIds(context, use, callerOf(request))) changed |= SETATTR_MODE;
    if (records && past !== Past.recorded && changed !== 0) recordAttributes(context, ino, changed);
    else if (!records) recorder.lose();
  }
  locks.unlock(ino);
  beneath.release(use);
  recorder.finish();
  if (result < 0) return result;
  writeAttrOut(reply.view, reply.at(0), VALID_SECONDS, statx);
  reply.length = ATTR_OUT_BYTES;
  return 0;
}

export function attributeHandlers(context: WorkerContext): [number, Handler][] {
  return [
    [Opcode.getattr, (request, reply) => getattr(context, request, reply)],
    [Opcode.statx, (request, reply) => statxRequest(context, request, reply)],
    [Opcode.statfs, (request, reply) => statfs(context, request, reply)],
    [Opcode.setattr, (request, reply) => setattr(context, request, reply)],
  ];
}
