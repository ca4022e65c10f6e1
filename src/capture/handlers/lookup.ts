/** Names to nodes, and the kernel's count of what it knows. */
import { IN_HEADER_BYTES, Opcode, writeNegativeEntry, ENTRY_OUT_BYTES } from "../../fuse/abi.ts";
import { NO_REPLY, type Reply, type Request } from "../../fuse/message.ts";
import type { Handler } from "../../fuse/session.ts";
import { EINVAL, ENOENT } from "../../platform/errno.ts";
import { readlinkatAt } from "../../platform/native.ts";
import { OpKind } from "../../model/op.ts";
import { NODE_FLAG_TMPFILE } from "../node-table.ts";
import { VALID_SECONDS, type WorkerContext } from "../worker-context.ts";

const DOT = 0x2e;
const TARGET_BYTES_MAX = 4096;

function lookup(context: WorkerContext, request: Request, reply: Reply): number {
  const { beneath, use } = context;
  if (request.nameEnd(0) < 0) return -EINVAL;
  const error = beneath.useDirectory(beneath.ino(request.nodeId), use);
  if (error < 0) return error;
  const result = isDotName(request)
    ? lookupDot(context, request, reply)
    : context.lookUp(use.fd, request.address(0), reply, 0);
  beneath.release(use);
  if (result !== -ENOENT) return result;
  writeNegativeEntry(reply.view, reply.at(0), VALID_SECONDS);
  reply.length = ENTRY_OUT_BYTES;
  return 0;
}

function isDotName(request: Request): boolean {
  const first = request.bytes(0, 3);
  return first[0] === DOT && (first[1] === 0 || (first[1] === DOT && first[2] === 0));
}

/** "." and ".." are asked for by those who open the mount's files by handle, NFS for one. */
function lookupDot(context: WorkerContext, request: Request, reply: Reply): number {
  const isParent = request.bytes(1, 2)[0] === DOT;
  const stays = !isParent || context.beneath.ino(request.nodeId) === context.beneath.rootIno;
  if (!stays) return context.lookUp(context.use.fd, request.address(0), reply, 0);
  const error = context.statx.of(context.use.fd);
  if (error < 0) return error;
  const failed = context.beneath.readHandleOf(context.use.fd);
  if (failed < 0) return failed;
  context.writeKnownEntry(reply, 0);
  return 0;
}

/**
 * `use` of a symlink is always a place of its own, on which an empty name stands for the link
 * itself.
 */
function readlink(context: WorkerContext, request: Request, reply: Reply): number {
  const { beneath, use } = context;
  const error = beneath.usePlace(beneath.ino(request.nodeId), use);
  if (error < 0) return error;
  const got = readlinkatAt(use.fd, beneath.emptyName, reply.address(0), TARGET_BYTES_MAX);
  beneath.release(use);
  if (got < 0) return got;
  reply.length = got;
  return 0;
}

function forgetNode(context: WorkerContext, nodeId: number, count: number): void {
  const { beneath, recorder } = context;
  const ino = beneath.ino(nodeId);
  const released = beneath.nodes.forget(ino, count);
  if (released === undefined || released.id === 0) return;
  if ((released.flags & NODE_FLAG_TMPFILE) !== 0 && recorder.beginUnasked(256)) {
    recorder.start(OpKind.forget, context.mount, ino);
    recorder.commit();
  }
  beneath.purge(ino);
  context.letGo(released);
}

function forget(context: WorkerContext, request: Request): number {
  forgetNode(context, request.nodeId, request.u64(0));
  return NO_REPLY;
}

const FORGET_ONE_BYTES = 16;

function batchForget(context: WorkerContext, request: Request): number {
  const room = Math.floor((request.length - IN_HEADER_BYTES - 8) / FORGET_ONE_BYTES);
  const count = Math.min(request.u32(0), room);
  // Read before anything is recorded: a record may be made where the request lies.
  const pairs: number[] = [];
  for (let i = 0; i < count; i++) {
    pairs.push(request.u64(8 + i * FORGET_ONE_BYTES), request.u64(16 + i * FORGET_ONE_BYTES));
  }
  for (let i = 0; i < pairs.length; i += 2) {
    forgetNode(context, pairs[i] as number, pairs[i + 1] as number);
  }
  return NO_REPLY;
}

export function lookupHandlers(context: WorkerContext): [number, Handler][] {
  return [
    [Opcode.lookup, (request, reply) => lookup(context, request, reply)],
    [Opcode.readlink, (request, reply) => readlink(context, request, reply)],
    [Opcode.forget, (request) => forget(context, request)],
    [Opcode.batchForget, (request) => batchForget(context, request)],
  ];
}
