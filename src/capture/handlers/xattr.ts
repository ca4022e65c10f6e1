/** Extended attributes of every namespace, POSIX ACLs among them. */
import { Opcode, SETXATTR_ACL_KILL_SGID } from "../../fuse/abi.ts";
import type { Reply, Request } from "../../fuse/message.ts";
import type { Handler } from "../../fuse/session.ts";
import { OP_HEADER_BYTES, OpKind } from "../../model/op.ts";
import { EEXIST, EINVAL, ENODATA, ERANGE } from "../../platform/errno.ts";
import { S_IFLNK, S_IFMT, S_ISGID } from "../../platform/libc.ts";
import {
  fgetxattrAt,
  flistxattrAt,
  fremovexattrAt,
  fsetxattrAt,
  getxattrAt,
  listxattrAt,
  removexattrAt,
  setxattrAt,
} from "../../platform/native.ts";
import type { NodeUse } from "../beneath.ts";
import { Past } from "../recorder.ts";
import type { WorkerContext } from "../worker-context.ts";
import { changeMode } from "./attributes.ts";

const XATTR_CREATE = 1;
const SETXATTR_IN_BYTES = 16;
const GETXATTR_IN_BYTES = 8;
const NAME_BYTES_MAX = 255;
const VALUE_BYTES_MAX = 65_536;
const LIST_BYTES_MAX = 65_536;

/** Where the scratch memory holds a path, a name and a value. */
const PATH_AT = 0;
const NAME_AT = 64;
const VALUE_AT = 512;

const ACL_ACCESS = "system.posix_acl_access";
const ACL_DEFAULT = "system.posix_acl_default";

/**
 * Writes /proc/self/fd/N to the scratch memory: the way to the attributes of what is only open with
 * O_PATH.
 */
function pathOf(context: WorkerContext, use: NodeUse): number {
  const { scratch } = context;
  const path = `/proc/self/fd/${use.fd}\0`;
  for (let i = 0; i < path.length; i++) scratch.bytes[PATH_AT + i] = path.charCodeAt(i);
  return scratch.address + PATH_AT;
}

function get(
  context: WorkerContext,
  use: NodeUse,
  at: { name: number; value: number; size: number },
): number {
  return use.real
    ? fgetxattrAt(use.fd, at.name, at.value, at.size)
    : getxattrAt(pathOf(context, use), at.name, at.value, at.size);
}

/**
 * Finishes GETXATTR and LISTXATTR: the bytes, or only their number when the caller gave no room.
 */
function answerSized(reply: Reply, result: number, room: number): number {
  if (result < 0) return result;
  if (room > 0) {
    reply.length = result;
    return 0;
  }
  reply.setU32(0, result);
  reply.setU32(4, 0);
  reply.length = 8;
  return 0;
}

function getxattr(context: WorkerContext, request: Request, reply: Reply): number {
  const { beneath, use } = context;
  if (request.nameEnd(GETXATTR_IN_BYTES) < 0) return -EINVAL;
  const error = beneath.usePlace(beneath.ino(request.nodeId), use);
  if (error < 0) return error;
  const size = Math.min(request.u32(0), VALUE_BYTES_MAX);
  const name = request.address(GETXATTR_IN_BYTES);
  const result = get(context, use, { name, value: reply.address(0), size });
  beneath.release(use);
  return answerSized(reply, result, request.u32(0));
}

function listxattr(context: WorkerContext, request: Request, reply: Reply): number {
  const { beneath, use } = context;
  const error = beneath.usePlace(beneath.ino(request.nodeId), use);
  if (error < 0) return error;
  const room = request.u32(0);
  const hides = request.uid !== 0;
  const size = hides ? LIST_BYTES_MAX : Math.min(room, LIST_BYTES_MAX);
  const result = use.real
    ? flistxattrAt(use.fd, reply.address(0), size)
    : listxattrAt(pathOf(context, use), reply.address(0), size);
  beneath.release(use);
  if (!hides || result <= 0) return answerSized(reply, result, room);
  const shown = withoutTrusted(reply.memory.bytes.subarray(reply.at(0), reply.at(result)));
  return answerSized(reply, room > 0 && shown > room ? -ERANGE : shown, room);
}

const TRUSTED = Buffer.from("trusted.");

/** Takes the names out that only CAP_SYS_ADMIN sees, in place; returns the bytes left. */
function withoutTrusted(list: Uint8Array): number {
  let left = 0;
  for (let at = 0; at < list.length; ) {
    const end = list.indexOf(0, at) + 1;
    const isHidden = TRUSTED.equals(list.subarray(at, at + TRUSTED.length));
    if (!isHidden) {
      list.copyWithin(left, at, end);
      left += end - at;
    }
    at = end;
  }
  return left;
}

function set(
  context: WorkerContext,
  use: NodeUse,
  given: { name: number; value: number; size: number; flags: number },
): number {
  const { name, value, size, flags } = given;
  return use.real
    ? fsetxattrAt(use.fd, name, value, size, flags)
    : setxattrAt(pathOf(context, use), name, value, size, flags);
}

function setxattr(context: WorkerContext, request: Request): number {
  const { beneath, locks, recorder, statx, use } = context;
  const size = request.u32(0);
  const nameEnd = request.nameEnd(SETXATTR_IN_BYTES);
  if (nameEnd < 0 || size > request.bodyLength - nameEnd - 1) return -EINVAL;
  const ino = beneath.ino(request.nodeId);
  const error = beneath.usePlace(ino, use);
  if (error < 0) return error;
  const past = recorder.past(request);
  const room = OP_HEADER_BYTES + NAME_BYTES_MAX + size + 1;
  const begun = recorder.begin(request, room);
  const name = request.address(SETXATTR_IN_BYTES);
  const value = request.address(nameEnd + 1);
  const flags = request.u32(4);
  locks.lock(ino);
  const records = recorder.confirm(begun, room);
  let result = past === Past.recorded ? 0 : set(context, use, { name, value, size, flags });
  if (result === -EEXIST && past === Past.begun && flags === XATTR_CREATE) result = 0;
  if (result === 0) result = statx.of(use.fd);
  const killsSgid = (request.u32(8) & SETXATTR_ACL_KILL_SGID) !== 0;
  if (result === 0 && killsSgid && (statx.mode & S_ISGID) !== 0) {
    changeMode(use, statx.mode & 0o7777 & ~S_ISGID);
    result = statx.of(use.fd);
  }
  if (result === 0) {
    const nameBytes = request.bytes(SETXATTR_IN_BYTES, nameEnd);
    noticeDefaultAcl(context, nameBytes);
    if (!records) recorder.lose();
    else if (past !== Past.recorded) {
      recordXattr(context, ino, nameBytes, request.bytes(nameEnd + 1, nameEnd + 1 + size));
    }
  }
  locks.unlock(ino);
  beneath.release(use);
  recorder.finish();
  return result;
}

/** `statx` holds the node's status: an ACL may have changed its mode. */
function recordXattr(
  context: WorkerContext,
  ino: number,
  name: Uint8Array,
  value: Uint8Array,
): void {
  const { recorder, statx } = context;
  const op = recorder.start(OpKind.setxattr, context.mount, ino);
  op.mode = statx.mode;
  op.length1 = name.length;
  op.length2 = value.length;
  op.bytes.set(name, op.body(0));
  op.bytes.set(value, op.body(name.length));
  op.size = OP_HEADER_BYTES + name.length + value.length;
  recorder.commit();
}

function removexattr(context: WorkerContext, request: Request): number {
  const { beneath, locks, recorder, statx, use } = context;
  const nameEnd = request.nameEnd(0);
  if (nameEnd < 0) return -EINVAL;
  const ino = beneath.ino(request.nodeId);
  const error = beneath.usePlace(ino, use);
  if (error < 0) return error;
  const past = recorder.past(request);
  const room = OP_HEADER_BYTES + NAME_BYTES_MAX + 1;
  const begun = recorder.begin(request, room);
  const name = request.address(0);
  locks.lock(ino);
  const records = recorder.confirm(begun, room);
  let result = 0;
  if (past !== Past.recorded) {
    result = use.real ? fremovexattrAt(use.fd, name) : removexattrAt(pathOf(context, use), name);
  }
  if (result === -ENODATA && past === Past.begun) result = 0;
  if (result === 0) result = statx.of(use.fd);
  if (result === 0) {
    const nameBytes = request.bytes(0, nameEnd);
    noticeDefaultAcl(context, nameBytes);
    if (!records) recorder.lose();
    else if (past !== Past.recorded) {
      const op = recorder.start(OpKind.removexattr, context.mount, ino);
      op.mode = statx.mode;
      op.length1 = nameBytes.length;
      op.bytes.set(nameBytes, op.body(0));
      op.size = OP_HEADER_BYTES + nameBytes.length;
      recorder.commit();
    }
  }
  locks.unlock(ino);
  beneath.release(use);
  recorder.finish();
  return result;
}

function noticeDefaultAcl(context: WorkerContext, name: Uint8Array): void {
  if (Buffer.from(name).toString("latin1") === ACL_DEFAULT) context.inheritance.changed();
}

/** Reads an attribute to the scratch memory; returns its value (a view) or undefined. */
function readAcl(context: WorkerContext, use: NodeUse, name: string): Uint8Array | undefined {
  const { scratch } = context;
  for (let i = 0; i < name.length; i++) scratch.bytes[NAME_AT + i] = name.charCodeAt(i);
  scratch.bytes[NAME_AT + name.length] = 0;
  const value = scratch.address + VALUE_AT;
  const size = get(context, use, { name: scratch.address + NAME_AT, value, size: VALUE_BYTES_MAX });
  return size < 0 ? undefined : scratch.bytes.subarray(VALUE_AT, VALUE_AT + size);
}

/** `statx` is the node. */
export function recordAcls(context: WorkerContext, ino: number): void {
  const { beneath, statx, use3 } = context;
  if ((statx.mode & S_IFMT) === S_IFLNK || beneath.usePlace(ino, use3) < 0) return;
  for (const name of [ACL_ACCESS, ACL_DEFAULT]) {
    const value = readAcl(context, use3, name);
    if (value !== undefined) recordXattr(context, ino, Buffer.from(name), value);
  }
  beneath.release(use3);
}

export function hasDefaultAcl(context: WorkerContext, directory: number): boolean {
  const { beneath, use3 } = context;
  if (beneath.useDirectory(directory, use3) < 0) return false;
  const value = readAcl(context, use3, ACL_DEFAULT);
  beneath.release(use3);
  return value !== undefined;
}

export function xattrHandlers(context: WorkerContext): [number, Handler][] {
  return [
    [Opcode.getxattr, (request, reply) => getxattr(context, request, reply)],
    [Opcode.listxattr, (request, reply) => listxattr(context, request, reply)],
    [Opcode.setxattr, (request) => setxattr(context, request)],
    [Opcode.removexattr, (request) => removexattr(context, request)],
  ];
}
