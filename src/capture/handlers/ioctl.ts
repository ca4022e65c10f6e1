/**
 * The few ioctls that change or tell what a file is: inode flags (lsattr, chattr) and the project
 * id.
 */
import { Opcode } from "../../fuse/abi.ts";
import type { Reply, Request } from "../../fuse/message.ts";
import type { Handler } from "../../fuse/session.ts";
import { OP_HEADER_BYTES, OpKind } from "../../model/op.ts";
import { EINVAL, ENOTTY } from "../../platform/errno.ts";
import { close, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } from "../../platform/libc.ts";
import { ioctlAt } from "../../platform/native.ts";
import { Past } from "../recorder.ts";
import type { WorkerContext } from "../worker-context.ts";

const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;

/** What chattr can set; a directory gives some of these to new entries. */
const FLAGS_GIVEN = 0x208380ff;

const IOCTL_IN_BYTES = 32;
const IOCTL_OUT_BYTES = 16;
export const FLAGS_OP_BYTES: number = OP_HEADER_BYTES + 8;
/** `struct fsxattr`; its u32 at 12 is the project id. */
const FSXATTR_BYTES = 28;
const PROJECT_ID_AT = 12;

const BYTES: ReadonlyMap<number, number> = new Map([
  [FS_IOC_GETFLAGS, 4],
  [FS_IOC_SETFLAGS, 4],
  [FS_IOC_FSGETXATTR, FSXATTR_BYTES],
  [FS_IOC_FSSETXATTR, FSXATTR_BYTES],
]);

/** The node's flags and project id as they are beneath; what cannot be read is 0. */
export function readFlags(context: WorkerContext, fd: number): { flags: number; project: number } {
  const { scratch } = context;
  scratch.view.setUint32(0, 0, true);
  const flags =
    ioctlAt(fd, FS_IOC_GETFLAGS, scratch.address) < 0 ? 0 : scratch.view.getUint32(0, true);
  const hasProject = ioctlAt(fd, FS_IOC_FSGETXATTR, scratch.address) >= 0;
  const project = hasProject ? scratch.view.getUint32(PROJECT_ID_AT, true) : 0;
  return { flags, project };
}

export function recordFlags(context: WorkerContext, ino: number, fd: number): void {
  const { flags, project } = readFlags(context, fd);
  const op = context.recorder.start(OpKind.setflags, context.mount, ino);
  op.view.setUint32(op.body(0), flags, true);
  op.view.setUint32(op.body(4), project, true);
  op.size = OP_HEADER_BYTES + 8;
  context.recorder.commit();
}

/** Whether new entries of the directory may have flags of it. */
export function givesFlags(context: WorkerContext, fd: number): boolean {
  return (readFlags(context, fd).flags & FLAGS_GIVEN) !== 0;
}

function ioctl(context: WorkerContext, request: Request, reply: Reply): number {
  const { beneath, locks, recorder, scratch } = context;
  const command = request.u32(12);
  const bytes = BYTES.get(command);
  if (bytes === undefined) return -ENOTTY;
  const isSet = command === FS_IOC_SETFLAGS || command === FS_IOC_FSSETXATTR;
  if (isSet && request.bodyLength < IOCTL_IN_BYTES + bytes) return -EINVAL;
  const ino = beneath.ino(request.nodeId);
  const fd = beneath.open(ino, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return fd;
  const past = recorder.past(request);
  const begun = isSet && recorder.begin(request, FLAGS_OP_BYTES);
  locks.lock(ino);
  const records = isSet && recorder.confirm(begun, FLAGS_OP_BYTES);
  if (isSet) scratch.bytes.set(request.bytes(IOCTL_IN_BYTES, IOCTL_IN_BYTES + bytes), 0);
  // Beneath writes a long's worth for 4-byte flags on some file systems.
  else scratch.bytes.fill(0, 0, FSXATTR_BYTES + 4);
  const result = ioctlAt(fd, command, scratch.address);
  if (result >= 0) {
    reply.memory.bytes.set(scratch.bytes.subarray(0, bytes), reply.at(IOCTL_OUT_BYTES));
    if (records && past !== Past.recorded) recordFlags(context, ino, fd);
    else if (isSet && !records) recorder.lose();
  }
  if (isSet && result >= 0) {
    context.inheritance.changed();
    // A descriptor that was opened for writing before the flags would not obey them.
    beneath.purge(ino);
  }
  locks.unlock(ino);
  close(fd);
  recorder.finish();
  if (result < 0) return result;
  // The kernel does not know that this changed the node's ctime.
  if (isSet) context.invalidateAttributes(request.nodeId);
  for (let at = 0; at < IOCTL_OUT_BYTES; at += 4) reply.setU32(at, 0);
  reply.length = IOCTL_OUT_BYTES + (isSet ? 0 : bytes);
  return 0;
}

export function ioctlHandlers(context: WorkerContext): [number, Handler][] {
  return [[Opcode.ioctl, (request, reply) => ioctl(context, request, reply)]];
}
