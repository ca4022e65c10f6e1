/**
 * A disk that writes down what is written to it: a FUSE file system of one file, `image`, served
 * from a file that was there before. `node recording-disk-process.ts MOUNTPOINT BACKING RECORD
 * COUNTER`.
 *
 * RECORD gets an entry for each write (u32 length, u32 zero, f64 offset, bytes) and each flush
 * (u32 0xffffffff, u32 zero, f64 0) in the order in which they were done; COUNTER, shared memory,
 * begins with the number of entries, and how many there may be: the disk stands still then. What
 * was recorded before a flush is on the disk when the flush was answered.
 */
import { openSync, writeSync } from "node:fs";
import {
  ATTR_OUT_BYTES,
  type AttrSource,
  ENTRY_OUT_BYTES,
  Opcode,
  ROOT_ID,
  writeAttrOut,
  writeEntry,
} from "../../src/fuse/abi.ts";
import { deviceChannel } from "../../src/fuse/device-channel.ts";
import { answerInit } from "../../src/fuse/init.ts";
import { NO_REPLY, Reply, type Request } from "../../src/fuse/message.ts";
import { mountFuse, openFuseDevice } from "../../src/fuse/mount.ts";
import { type Handler, Session } from "../../src/fuse/session.ts";
import { ENOENT } from "../../src/platform/errno.ts";
import { allocateNative, preadAt, pwriteAt } from "../../src/platform/native.ts";
import { SharedMemory } from "../../src/platform/shared-memory.ts";
import { Statx } from "../../src/platform/statx.ts";

const [mountPoint = "", backing = "", record = "", counter = ""] = process.argv.slice(2);
const IMAGE_ID = 2;
const FLUSH = 0xffffffff;
const VALID_S = 3600;
const ROOM = (1 << 20) + 4096;
const WRITE_BODY_BYTES = 40;

const imageFd = openSync(backing, "r+");
const recordFd = openSync(record, "w");
const rootFd = openSync(mountPoint, "r");
const count = new Int32Array(SharedMemory.open(counter).buffer);
const nothing = new Int32Array(new SharedArrayBuffer(4));
const memory = allocateNative(ROOM);
const reply = new Reply(allocateNative(ROOM));

function attributesOf(node: number): AttrSource {
  const status = new Statx();
  status.of(node === ROOT_ID ? rootFd : imageFd);
  return status;
}

/** Does not come back when the disk is to stand still. */
function noteEntry(length: number, offset: number, bytes?: Uint8Array): void {
  const limit = Atomics.load(count, 1);
  if (limit > 0 && Atomics.load(count, 0) >= limit) Atomics.wait(nothing, 0, 0);
  const head = Buffer.alloc(16);
  head.writeUInt32LE(length, 0);
  head.writeDoubleLE(offset, 8);
  writeSync(recordFd, head);
  if (bytes !== undefined) writeSync(recordFd, bytes);
  Atomics.add(count, 0, 1);
}

function lookup(request: Request): number {
  const name = Buffer.from(request.bytes(0, request.nameEnd(0))).toString();
  if (request.nodeId !== ROOT_ID || name !== "image") return -ENOENT;
  const identity = { nodeId: IMAGE_ID, generation: 0, validSeconds: VALID_S };
  writeEntry(reply.view, reply.at(0), identity, attributesOf(IMAGE_ID));
  reply.length = ENTRY_OUT_BYTES;
  return 0;
}

function getattr(request: Request): number {
  writeAttrOut(reply.view, reply.at(0), VALID_S, attributesOf(request.nodeId));
  reply.length = ATTR_OUT_BYTES;
  return 0;
}

function read(request: Request): number {
  const offset = request.u64(8);
  const size = request.u32(16);
  const got = preadAt(imageFd, reply.address(0), size, offset);
  if (got < 0) return got;
  reply.length = got;
  return 0;
}

function write(request: Request): number {
  const offset = request.u64(8);
  const size = request.u32(16);
  noteEntry(size, offset, request.bytes(WRITE_BODY_BYTES, WRITE_BODY_BYTES + size));
  const wrote = pwriteAt(imageFd, request.address(WRITE_BODY_BYTES), size, offset);
  if (wrote < 0) return wrote;
  reply.setU32(0, wrote);
  reply.setU32(4, 0);
  reply.length = 8;
  return 0;
}

function flush(): number {
  noteEntry(FLUSH, 0);
  return 0;
}

const handlers = new Map<number, Handler>([
  [Opcode.init, (request) => (answerInit(request, reply) === undefined ? -ENOENT : 0)],
  [Opcode.lookup, lookup],
  [Opcode.getattr, getattr],
  [Opcode.read, read],
  [Opcode.write, write],
  [Opcode.fsync, flush],
  [Opcode.forget, () => NO_REPLY],
  [Opcode.batchForget, () => NO_REPLY],
  [Opcode.destroy, () => 0],
]);

const fuseFd = openFuseDevice();
mountFuse(fuseFd, mountPoint, {
  name: "recording-disk",
  subtype: "standin-test",
  rootMode: 0o040755,
  nosuid: true,
  nodev: true,
});
process.stdout.write("mounted\n");
const session = new Session({
  channel: deviceChannel(fuseFd),
  handlers,
  reply,
  space: () => ({ memory, base: 0, room: ROOM }),
  onBug: (error) => process.stderr.write(`${String(error)}\n`),
});
session.run();
