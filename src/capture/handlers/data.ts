/** Data of regular files: read, write, fallocate, copy, sync. */
import { IN_HEADER_BYTES, Opcode, WRITE_KILL_SUIDGID } from "../../fuse/abi.ts";
import type { Reply, Request } from "../../fuse/message.ts";
import type { Handler } from "../../fuse/session.ts";
import { OP_HEADER_BYTES, OpKind, type OpView, SETATTR_MODE } from "../../model/op.ts";
import { writeU64 } from "../../base/bytes.ts";
import { EINVAL, EIO, EPERM, ENOSYS, EXDEV } from "../../platform/errno.ts";
import {
  fallocate as sysFallocate,
  fdatasync,
  fsync as sysFsync,
  lseek as sysLseek,
  O_DIRECTORY,
  O_RDONLY,
  close,
} from "../../platform/libc.ts";
import { copyFileRangeAt, preadAt, pwriteAt } from "../../platform/native.ts";
import { Past } from "../recorder.ts";
import type { WorkerContext } from "../worker-context.ts";
import { type Caller, callerOf, killSetIds, recordAttributes } from "./attributes.ts";

const WRITE_IN_BYTES = 40;
const FSYNC_DATA_ONLY = 1;
/** One copy request holds two files' locks; the caller asks again for the rest. */
const COPY_BYTES_MAX = 16 << 20;
/** Room for a follow-up record besides the op itself. */
const FOLLOW_UP_BYTES = 256;
const SMALL_OP_BYTES = OP_HEADER_BYTES + FOLLOW_UP_BYTES;

/**
 * What is cached beneath is read at once; for the rest another worker takes our place while we
 * wait.
 */
function read(context: WorkerContext, request: Request, reply: Reply): number {
  const { beneath, use } = context;
  const error = beneath.useFile(beneath.ino(request.nodeId), use, { write: false });
  if (error < 0) return error;
  const size = Math.min(request.u32(16), reply.memory.bytes.length - reply.at(0));
  const offset = request.u64(8);
  let got = context.readCached(use.fd, reply.address(0), size, offset);
  if (got < 0) {
    context.pool.beforeSlow();
    got = preadAt(use.fd, reply.address(0), size, offset);
  }
  beneath.release(use);
  if (got < 0) return got;
  reply.length = got;
  return 0;
}

function fillTimes(context: WorkerContext, op: OpView): void {
  const { statx } = context;
  op.setMtime(statx.mtimeSec, statx.mtimeNsec);
  op.mode = statx.mode;
  op.uid = statx.uid;
  op.gid = statx.gid;
}

function recordWrite(
  context: WorkerContext,
  request: Request,
  from: { ino: number; offset: number; dataAt: number; length: number },
): void {
  const { recorder } = context;
  const op = recorder.placeData(request.memory, from.dataAt, from.length);
  op.start(OpKind.write, context.mount, from.ino);
  op.offset = from.offset;
  op.length = from.length;
  fillTimes(context, op);
  op.size = OP_HEADER_BYTES + from.length;
  recorder.publishPlaced(op.size);
}

function write(context: WorkerContext, request: Request, reply: Reply): number {
  const { beneath, locks, recorder, use } = context;
  const size = request.u32(16);
  if (size > request.bodyLength - WRITE_IN_BYTES) return -EINVAL;
  const ino = beneath.ino(request.nodeId);
  const error = beneath.useFile(ino, use, { write: true });
  if (error < 0) return error;
  const offset = request.u64(8);
  const kills = (request.u32(20) & WRITE_KILL_SUIDGID) !== 0;
  const caller = kills ? callerOf(request) : undefined;
  const past = recorder.past(request);
  const room = OP_HEADER_BYTES + size + FOLLOW_UP_BYTES;
  const begun = recorder.begin(request, room);
  locks.lock(ino);
  const records = recorder.confirm(begun, room);
  let written = size;
  if (past !== Past.recorded) {
    written = use.appends
      ? append(context, request, past)
      : pwriteAt(use.fd, request.address(WRITE_IN_BYTES), size, offset);
  }
  if (written >= 0) {
    if (records || kills) readStatus(context, ino);
    if (records && past !== Past.recorded) {
      const dataAt = request.base + IN_HEADER_BYTES + WRITE_IN_BYTES;
      recordWrite(context, request, { ino, offset, dataAt, length: written });
    } else if (!records) recorder.lose();
    if (caller !== undefined && killSetIds(context, use, caller) && records)
      recordAttributes(context, ino, SETATTR_MODE);
  }
  locks.unlock(ino);
  beneath.release(use);
  recorder.finish();
  if (written < 0) return written;
  reply.setU32(0, written);
  reply.setU32(4, 0);
  reply.length = 8;
  return 0;
}

/** Of the file that was just written. */
function readStatus({ writeTimes, statx, use }: WorkerContext, ino: number): void {
  if (writeTimes.readStatus(statx, use.fd, ino) < 0)
    throw new Error("statx of an open file failed");
}

/**
 * A write to a file with the append-only flag: refused where it would not land where it was meant
 * for. (Beneath, opening such a file without O_APPEND fails; here there is no open to refuse.)
 */
function append(context: WorkerContext, request: Request, past: number): number {
  const { statx, use } = context;
  const size = request.u32(16);
  const offset = request.u64(8);
  if (statx.of(use.fd) < 0) return -EIO;
  if (past === Past.begun && statx.size === offset + size) return size;
  if (statx.size !== offset) return -EPERM;
  return pwriteAt(use.fd, request.address(WRITE_IN_BYTES), size, offset);
}

/**
 * Whether a change of data by this caller takes set-ID bits away. FALLOCATE and COPY_FILE_RANGE do
 * not say so, unlike WRITE; beneath, all callers lose them who lack CAP_FSETID.
 */
function losesSetIds(caller: Caller): boolean {
  return caller.uid !== 0;
}

function fallocate(context: WorkerContext, request: Request): number {
  const { beneath, locks, recorder, statx, use } = context;
  const caller = callerOf(request);
  const ino = beneath.ino(request.nodeId);
  const error = beneath.useFile(ino, use, { write: true });
  if (error < 0) return error;
  const offset = request.u64(8);
  const length = request.u64(16);
  const mode = request.u32(24);
  const past = recorder.past(request);
  const begun = recorder.begin(request, SMALL_OP_BYTES);
  context.pool.beforeSlow();
  locks.lock(ino);
  const records = recorder.confirm(begun, SMALL_OP_BYTES);
  let result = past === Past.recorded ? 0 : sysFallocate(use.fd, mode, offset, length);
  if (result === 0) result = statx.of(use.fd);
  if (result === 0 && records && past !== Past.recorded) {
    const op = recorder.start(OpKind.fallocate, context.mount, ino);
    op.offset = offset;
    op.length = length;
    op.extra = mode;
    fillTimes(context, op);
    recorder.commit();
  } else if (result === 0 && !records) recorder.lose();
  if (result === 0 && losesSetIds(caller) && killSetIds(context, use, caller) && records) {
    recordAttributes(context, ino, SETATTR_MODE);
  }
  locks.unlock(ino);
  beneath.release(use);
  recorder.finish();
  return result;
}

/** Two i64 that the kernel advances. */
function writeOffsets(context: WorkerContext, from: number, to: number): number {
  writeU64(context.scratch.view, 0, from);
  writeU64(context.scratch.view, 8, to);
  return context.scratch.address;
}

function copyFileRange(context: WorkerContext, request: Request, reply: Reply): number {
  if (!context.recordCopies) return -ENOSYS;
  const { beneath, locks, recorder, use, use2 } = context;
  const from = beneath.ino(request.nodeId);
  const to = beneath.ino(request.u64(16));
  const opened = beneath.useFile(from, use, { write: false });
  if (opened < 0) return opened;
  const error = beneath.useFile(to, use2, { write: true });
  if (error < 0) {
    beneath.release(use);
    return error;
  }
  const past = recorder.past(request);
  const length = Math.min(request.u64(40), COPY_BYTES_MAX);
  const begun = recorder.begin(request, SMALL_OP_BYTES);
  context.pool.beforeSlow();
  locks.lockAll(from, to, 0, 0);
  const records = recorder.confirm(begun, SMALL_OP_BYTES);
  const copied = copyAndRecord(context, request, { from, to, length, past, records });
  locks.unlockAll();
  beneath.release(use);
  beneath.release(use2);
  recorder.finish();
  // Beneath cannot do it (another file system's file): the kernel falls back to reading and
  // writing.
  if (copied < 0) return copied === -EXDEV ? -ENOSYS : copied;
  reply.setU32(0, copied);
  reply.setU32(4, 0);
  reply.length = 8;
  return 0;
}

function copyAndRecord(
  context: WorkerContext,
  request: Request,
  copy: { from: number; to: number; length: number; past: number; records: boolean },
): number {
  const { recorder, statx, use, use2 } = context;
  const caller = callerOf(request);
  const fromOffset = request.u64(8);
  const toOffset = request.u64(32);
  // Done again after a restart it copies the same bytes: the kernel refuses ranges of one file that
  // overlap.
  const offsets = writeOffsets(context, fromOffset, toOffset);
  const copied = copyFileRangeAt(use.fd, offsets, use2.fd, offsets + 8, copy.length);
  if (copied <= 0) return copied;
  if (statx.of(use2.fd) < 0) return -EIO;
  if (!copy.records) recorder.lose();
  else if (copy.past !== Past.recorded) {
    const op = recorder.start(OpKind.copy, context.mount, copy.to);
    op.offset = toOffset;
    op.length = copied;
    op.extra = copy.from;
    writeU64(op.view, op.body(0), fromOffset);
    fillTimes(context, op);
    op.size = OP_HEADER_BYTES + 8;
    recorder.commit();
  }
  if (losesSetIds(caller) && killSetIds(context, use2, caller) && copy.records) {
    recordAttributes(context, copy.to, SETATTR_MODE);
  }
  return copied;
}

function fsync(context: WorkerContext, request: Request): number {
  const { beneath, use } = context;
  const error = beneath.useFile(beneath.ino(request.nodeId), use, { write: false });
  if (error < 0) return error;
  const dataOnly = (request.u32(8) & FSYNC_DATA_ONLY) !== 0;
  context.pool.beforeSlow();
  const result = dataOnly ? fdatasync(use.fd) : sysFsync(use.fd);
  beneath.release(use);
  return result;
}

function fsyncdir(context: WorkerContext, request: Request): number {
  const { beneath } = context;
  const ino = beneath.ino(request.nodeId);
  const fd = beneath.open(ino, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return fd;
  context.pool.beforeSlow();
  const result = sysFsync(fd);
  close(fd);
  return result;
}

function lseek(context: WorkerContext, request: Request, reply: Reply): number {
  const { beneath, use } = context;
  const error = beneath.useFile(beneath.ino(request.nodeId), use, { write: false });
  if (error < 0) return error;
  // SEEK_DATA and SEEK_HOLE only: they depend on no position, so that sharing the descriptor is
  // harmless.
  const result = sysLseek(use.fd, request.u64(8), request.u32(16));
  beneath.release(use);
  if (result < 0) return result;
  reply.setU64(0, result);
  reply.length = 8;
  return 0;
}

/**
 * Only files made by O_TMPFILE still have an open handle to release; it stands for nothing here.
 */
function release(): number {
  return 0;
}

export function dataHandlers(context: WorkerContext): [number, Handler][] {
  return [
    [Opcode.read, (request, reply) => read(context, request, reply)],
    [Opcode.write, (request, reply) => write(context, request, reply)],
    [Opcode.fallocate, (request) => fallocate(context, request)],
    [Opcode.copyFileRange, (request, reply) => copyFileRange(context, request, reply)],
    [Opcode.fsync, (request) => fsync(context, request)],
    [Opcode.fsyncdir, (request) => fsyncdir(context, request)],
    [Opcode.lseek, (request, reply) => lseek(context, request, reply)],
    [Opcode.release, release],
    [Opcode.releasedir, release],
  ];
}
