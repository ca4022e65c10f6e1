/**
 * New nodes: mknod, mkdir, symlink, O_TMPFILE, link. Made as the caller, under the parent's lock.
 */
import { ENTRY_OUT_BYTES, FOPEN_KEEP_CACHE, OPEN_OUT_BYTES, Opcode } from "../../fuse/abi.ts";
import type { Reply, Request } from "../../fuse/message.ts";
import type { Handler } from "../../fuse/session.ts";
import { OP_HEADER_BYTES, OpKind, type OpView, TIME_BYTES } from "../../model/op.ts";
import { EEXIST, EINVAL } from "../../platform/errno.ts";
import {
  AT_EMPTY_PATH,
  close,
  O_CLOEXEC,
  O_EXCL,
  O_RDWR,
  O_TMPFILE,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
} from "../../platform/libc.ts";
import {
  allocateNative,
  linkatAt,
  mkdiratAt,
  mknodatAt,
  openatAt,
  symlinkatAt,
} from "../../platform/native.ts";
import { NODE_FLAG_TMPFILE } from "../node-table.ts";
import { Past } from "../recorder.ts";
import type { WorkerContext } from "../worker-context.ts";
import { INHERITED_BYTES, recordInherited } from "./inherited.ts";

/** With names and target at their longest. */
const CREATE_BYTES = OP_HEADER_BYTES + TIME_BYTES + 255 + 4096;

/** The parts of a create request that differ by opcode. */
interface Creation {
  readonly nameAt: number;
  readonly nameEnd: number;
  /** End of the symlink's target, whose start is behind the name; 0 for other types. */
  readonly targetEnd: number;
  readonly mode: number;
  readonly umask: number;
  readonly rdev: number;
}

function decode(request: Request): Creation | undefined {
  const { opcode } = request;
  if (opcode === Opcode.symlink) {
    const nameEnd = request.nameEnd(0);
    const targetEnd = nameEnd < 0 ? -1 : request.nameEnd(nameEnd + 1);
    if (targetEnd < 0) return undefined;
    return { nameAt: 0, nameEnd, targetEnd, mode: S_IFLNK | 0o777, umask: 0, rdev: 0 };
  }
  const isDirectory = opcode === Opcode.mkdir;
  const nameAt = isDirectory ? 8 : 16;
  const nameEnd = request.nameEnd(nameAt);
  if (nameEnd < 0) return undefined;
  const mode = isDirectory ? S_IFDIR | (request.u32(0) & 0o7777) : request.u32(0);
  const umask = isDirectory ? request.u32(4) : request.u32(8);
  const rdev = isDirectory ? 0 : request.u32(4);
  return { nameAt, nameEnd, targetEnd: 0, mode, umask: umask & 0o777, rdev };
}

/** FUSE's 32-bit device number to what mknod(2) takes: `makedev`. */
function deviceOf(rdev: number): number {
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  return (minor & 0xff) + major * 256 + (minor >>> 8) * 1_048_576;
}

function make(request: Request, dir: number, creation: Creation): number {
  const name = request.address(creation.nameAt);
  switch (creation.mode & S_IFMT) {
    case S_IFLNK:
      return symlinkatAt(request.address(creation.nameEnd + 1), dir, name);
    case S_IFDIR:
      return mkdiratAt(dir, name, creation.mode & 0o7777);
    default:
      return mknodatAt(dir, name, creation.mode, deviceOf(creation.rdev));
  }
}

function create(context: WorkerContext, request: Request, reply: Reply): number {
  const { beneath, locks, recorder, use } = context;
  const creation = decode(request);
  if (creation === undefined) return -EINVAL;
  const parent = beneath.ino(request.nodeId);
  const error = beneath.useDirectory(parent, use);
  if (error < 0) return error;
  const past = recorder.past(request);
  const begun = recorder.begin(request, CREATE_BYTES + INHERITED_BYTES);
  context.becomeCaller(request, creation.umask);
  locks.lock(parent);
  const records = recorder.confirm(begun, CREATE_BYTES + INHERITED_BYTES);
  let result = past === Past.recorded ? 0 : make(request, use.fd, creation);
  // Begun by an engine that was killed, and the kernel had made sure that the name was free: it was
  // us.
  if (result === -EEXIST && past === Past.begun) result = 0;
  if (result === 0) result = context.lookUp(use.fd, request.address(creation.nameAt), reply, 0);
  if (result === 0) {
    beneath.pin(context.statx.ino, context.statx.isRegular);
    if (records) recordCreate(context, request, { parent, creation, past });
    else recorder.lose();
  }
  locks.unlock(parent);
  beneath.release(use);
  recorder.finish();
  return result;
}

/** Header fields of an op that makes the node in `statx` known. */
function fillNode(context: WorkerContext, op: OpView): void {
  const { statx } = context;
  op.mode = statx.mode;
  op.uid = statx.uid;
  op.gid = statx.gid;
  op.setMtime(statx.mtimeSec, statx.mtimeNsec);
}

function recordCreate(
  context: WorkerContext,
  request: Request,
  made: { parent: number; creation: Creation; past: number },
): void {
  const { recorder, statx, statx2, use } = context;
  const { parent, creation } = made;
  const { ino } = statx;
  if (made.past !== Past.recorded && statx2.of(use.fd) === 0) {
    const op = recorder.start(OpKind.create, context.mount, ino);
    op.parent = parent;
    fillNode(context, op);
    op.extra = statx.rdev;
    op.setTime(0, statx2.mtimeSec, statx2.mtimeNsec);
    writeNames(op, TIME_BYTES, {
      first: request.bytes(creation.nameAt, creation.nameEnd),
      second: request.bytes(
        creation.nameEnd + 1,
        Math.max(creation.targetEnd, creation.nameEnd + 1),
      ),
    });
    recorder.commit();
  }
  recordInherited(context, { parent, ino });
}

/** Writes one or two names behind the times and sets the record's size. */
export function writeNames(
  op: OpView,
  at: number,
  names: { first: Uint8Array; second: Uint8Array },
): void {
  op.bytes.set(names.first, op.body(at));
  op.bytes.set(names.second, op.body(at) + names.first.length);
  op.length1 = names.first.length;
  op.length2 = names.second.length;
  op.size = OP_HEADER_BYTES + at + names.first.length + names.second.length;
}

const DOT = allocateNative(16);
DOT.bytes.set([0x2e, 0], 0);
/** An empty name, behind it. */
const EMPTY_AT = DOT.address + 8;

/**
 * A file without a name: kept alive by the connection until it is linked or forgotten. (Its
 * creation is not in doubt after a restart: the one that the killed engine made is gone with it, or
 * is known and held.)
 */
function tmpfile(context: WorkerContext, request: Request, reply: Reply): number {
  const { beneath, recorder, statx, use } = context;
  const mask = request.u32(8) & 0o777;
  const error = beneath.useDirectory(beneath.ino(request.nodeId), use);
  if (error < 0) return error;
  const records = recorder.begin(request, OP_HEADER_BYTES + INHERITED_BYTES);
  context.becomeCaller(request, mask);
  const exclusive = request.u32(0) & O_EXCL;
  const flags = O_TMPFILE | O_RDWR | O_CLOEXEC | exclusive;
  const fd = openatAt(use.fd, DOT.address, flags, request.u32(4) & 0o7777);
  beneath.release(use);
  if (fd < 0) return fd;
  const failed = statx.of(fd) || beneath.readHandleOf(fd);
  if (failed < 0) {
    close(fd);
    return failed;
  }
  // What had the number before may still be pinned; this one goes when the kernel forgets it.
  beneath.nodes.unpin(statx.ino);
  context.writeKnownEntry(reply, 0);
  if (records) {
    fillNode(context, recorder.start(OpKind.tmpfile, context.mount, statx.ino));
    recorder.commit();
    recordInherited(context, { parent: beneath.ino(request.nodeId), ino: statx.ino });
  } else recorder.lose();
  const hold = context.holdDescriptor(fd);
  beneath.nodes.hold(statx.ino, hold.id, hold.flags | NODE_FLAG_TMPFILE);
  writeOpen(reply, ENTRY_OUT_BYTES);
  return 0;
}

/** `struct fuse_open_out` without a handle: there are no open files on this side. */
export function writeOpen(reply: Reply, at: number): void {
  reply.setU64(at, 0);
  reply.setU32(at + 8, FOPEN_KEEP_CACHE);
  reply.setU32(at + 12, 0);
  reply.length = at + OPEN_OUT_BYTES;
}

function link(context: WorkerContext, request: Request, reply: Reply): number {
  const { beneath, locks, recorder, use, use2 } = context;
  const nameEnd = request.nameEnd(8);
  if (nameEnd < 0) return -EINVAL;
  const parent = beneath.ino(request.nodeId);
  const ino = beneath.ino(request.u64(0));
  const missing = beneath.useDirectory(parent, use);
  if (missing < 0) return missing;
  const error = beneath.usePlace(ino, use2);
  if (error < 0) {
    beneath.release(use);
    return error;
  }
  const past = recorder.past(request);
  const begun = recorder.begin(request, CREATE_BYTES);
  locks.lockAll(parent, ino, 0, 0);
  const records = recorder.confirm(begun, CREATE_BYTES);
  const name = request.address(8);
  let result =
    past === Past.recorded ? 0 : linkatAt(use2.fd, EMPTY_AT, use.fd, name, AT_EMPTY_PATH);
  if (result === -EEXIST && past === Past.begun) result = 0;
  if (result === 0) result = context.lookUp(use.fd, name, reply, 0);
  if (result === 0) {
    if (records) recordLink(context, { parent, past, name: request.bytes(8, nameEnd) });
    else recorder.lose();
    context.letGo(beneath.nodes.unhold(ino));
  }
  locks.unlockAll();
  beneath.release(use);
  beneath.release(use2);
  recorder.finish();
  return result;
}

function recordLink(
  context: WorkerContext,
  made: { parent: number; past: number; name: Uint8Array },
): void {
  const { recorder, statx, statx2, use } = context;
  if (made.past === Past.recorded || statx2.of(use.fd) !== 0) return;
  const op = recorder.start(OpKind.link, context.mount, statx.ino);
  op.parent = made.parent;
  fillNode(context, op);
  op.setTime(0, statx2.mtimeSec, statx2.mtimeNsec);
  writeNames(op, TIME_BYTES, { first: made.name, second: made.name.subarray(0, 0) });
  recorder.commit();
}

export function createHandlers(context: WorkerContext): [number, Handler][] {
  const handler: Handler = (request, reply) => create(context, request, reply);
  return [
    [Opcode.mknod, handler],
    [Opcode.mkdir, handler],
    [Opcode.symlink, handler],
    [Opcode.tmpfile, (request, reply) => tmpfile(context, request, reply)],
    [Opcode.link, (request, reply) => link(context, request, reply)],
  ];
}
