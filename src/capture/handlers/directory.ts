/**
 * Listings. There are no open directories on this side: each request opens the directory by its
 * handle and goes to the position that the file system beneath gave out for the entry before.
 */
import { readU64, writeU64 } from "../../base/bytes.ts";
import { ENTRY_OUT_BYTES, Opcode } from "../../fuse/abi.ts";
import type { Reply, Request } from "../../fuse/message.ts";
import type { Handler } from "../../fuse/session.ts";
import { close, O_DIRECTORY, O_RDONLY, seekDirectory } from "../../platform/libc.ts";
import { allocateNative, getdentsAt } from "../../platform/native.ts";
import type { WorkerContext } from "../worker-context.ts";

/** `struct linux_dirent64`: u64 ino, i64 off, u16 reclen, u8 type, name. */
const DIRENT_NAME_AT = 19;
/** `struct fuse_dirent`: u64 ino, u64 off, u32 namelen, u32 type, name, padded to 8. */
const FUSE_DIRENT_BYTES = 24;
const LISTING_BYTES = 1 << 17;
const DOT = 0x2e;

/** One entry of a listing, read in place from what getdents64 wrote. */
export class DirectoryReader {
  readonly memory = allocateNative(LISTING_BYTES);
  #end = 0;
  at = 0;

  /** Reads the next batch of at most `size` bytes; returns the bytes, 0 at the end, or `-errno`. */
  fill(fd: number, size: number): number {
    const got = getdentsAt(fd, this.memory.address, Math.min(size, LISTING_BYTES));
    this.#end = Math.max(0, got);
    this.at = 0;
    return got;
  }

  get isPastEnd(): boolean {
    return this.at >= this.#end;
  }
  next(): void {
    this.at += this.memory.view.getUint16(this.at + 16, true);
  }
  get ino(): number {
    return readU64(this.memory.view, this.at);
  }
  get type(): number {
    return this.memory.bytes[this.at + 18] as number;
  }
  get nameAddress(): number {
    return this.memory.address + this.at + DIRENT_NAME_AT;
  }
  get nameLength(): number {
    const start = this.at + DIRENT_NAME_AT;
    return this.memory.bytes.indexOf(0, start) - start;
  }
  /** A view, dead with the next {@link fill}. */
  get name(): Uint8Array {
    const start = this.at + DIRENT_NAME_AT;
    return this.memory.bytes.subarray(start, start + this.nameLength);
  }
  /** "." or "..". */
  get isDot(): boolean {
    const { bytes } = this.memory;
    const start = this.at + DIRENT_NAME_AT;
    if (bytes[start] !== DOT) return false;
    return bytes[start + 1] === 0 || (bytes[start + 1] === DOT && bytes[start + 2] === 0);
  }
}

/** Bytes of the entry in the reply. */
function direntBytes(nameLength: number): number {
  return (FUSE_DIRENT_BYTES + nameLength + 7) & ~7;
}

/** Writes the reader's entry as `struct fuse_dirent` at byte `at` of the reply. */
function writeDirent(
  context: WorkerContext,
  reader: DirectoryReader,
  reply: Reply,
  at: number,
): void {
  const { view, memory } = reply;
  const to = reply.at(at);
  const { nameLength } = reader;
  writeU64(view, to, reader.ino || context.beneath.rootIno);
  // The position is opaque and uses all 64 bits.
  view.setUint32(to + 8, reader.memory.view.getUint32(reader.at + 8, true), true);
  view.setUint32(to + 12, reader.memory.view.getUint32(reader.at + 12, true), true);
  view.setUint32(to + 16, nameLength, true);
  view.setUint32(to + 20, reader.type, true);
  memory.bytes.set(reader.name, to + FUSE_DIRENT_BYTES);
  memory.bytes.fill(0, to + FUSE_DIRENT_BYTES + nameLength, to + direntBytes(nameLength));
}

/** Fills the reply with whole entries; `room` bytes at most. Returns the bytes used. */
function fillPlain(
  context: WorkerContext,
  reader: DirectoryReader,
  reply: Reply,
  room: number,
): number {
  let used = 0;
  for (; !reader.isPastEnd; reader.next()) {
    const bytes = direntBytes(reader.nameLength);
    if (used + bytes > room) break;
    writeDirent(context, reader, reply, used);
    used += bytes;
  }
  return used;
}

/** As {@link fillPlain}, each entry with its node's attributes, counting a lookup of each. */
function fillPlus(
  context: WorkerContext,
  from: { reader: DirectoryReader; fd: number },
  reply: Reply,
  room: number,
): number {
  const { reader, fd } = from;
  let used = 0;
  for (; !reader.isPastEnd; reader.next()) {
    const bytes = ENTRY_OUT_BYTES + direntBytes(reader.nameLength);
    if (used + bytes > room) break;
    const entryAt = reply.at(used);
    const isKnown = !reader.isDot && context.lookUp(fd, reader.nameAddress, reply, used) === 0;
    // A node id of 0 says: no attributes for this one.
    if (!isKnown) reply.memory.bytes.fill(0, entryAt, entryAt + ENTRY_OUT_BYTES);
    writeDirent(context, reader, reply, used + ENTRY_OUT_BYTES);
    used += bytes;
  }
  return used;
}

function readdir(
  context: WorkerContext,
  request: Request,
  reply: Reply,
  reader: DirectoryReader,
): number {
  const { beneath } = context;
  const fd = beneath.open(beneath.ino(request.nodeId), O_RDONLY | O_DIRECTORY);
  if (fd < 0) return fd;
  const room = Math.min(request.u32(16), reply.memory.bytes.length - reply.at(0));
  const isPlus = request.opcode === Opcode.readdirplus;
  let result = seekDirectory(fd, request.view.getBigInt64(request.base + 48, true));
  // Entries with attributes are some five times as long as those of getdents.
  if (result >= 0) result = reader.fill(fd, isPlus ? Math.max(1024, room >> 2) : room);
  if (result > 0) {
    const used = isPlus
      ? fillPlus(context, { reader, fd }, reply, room)
      : fillPlain(context, reader, reply, room);
    reply.length = used;
  }
  close(fd);
  return Math.min(result, 0);
}

export function directoryHandlers(context: WorkerContext): [number, Handler][] {
  const reader = new DirectoryReader();
  const handler: Handler = (request, reply) => readdir(context, request, reply, reader);
  return [
    [Opcode.readdir, handler],
    [Opcode.readdirplus, handler],
  ];
}
