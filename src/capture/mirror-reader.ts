/**
 * Reads what a mirror, a resync or a verify asks for, and puts it into the ring among the live ops:
 * under the inode's lock it reads a block (or part of a listing) and publishes it, which gives it
 * an exact place in the order. It uses only the ring's spare room, so that it never crowds out what
 * applications do.
 */
import { systemClock } from "../platform/clock.ts";
import { E2BIG, EFBIG, EIO, ENOENT, ENXIO, ESTALE } from "../platform/errno.ts";
import { close, lseek, O_DIRECTORY, O_NOATIME, O_NOFOLLOW } from "../platform/libc.ts";
import { O_NONBLOCK, O_PATH, O_RDONLY, SEEK_DATA, SEEK_HOLE } from "../platform/libc.ts";
import { allocateNative, type NativeMemory, preadAt, readlinkatAt } from "../platform/native.ts";
import { BLOCK_HASH_BYTES, blockHash } from "../platform/hash.ts";
import { Statx } from "../platform/statx.ts";
import { type Command, CommandKind } from "../journal/command-queue.ts";
import { NO_ROOM, type Ring, type RingWriter } from "../journal/ring.ts";
import { RecordingState } from "../journal/ring-layout.ts";
import {
  appendDirectoryEntry,
  directoryEntryBytes,
  mirrorNodeBytes,
  startMirrorDirectory,
  writeMirrorNode,
} from "../model/mirror-record.ts";
import {
  OP_BYTES_MAX,
  OP_FLAG_FIRST,
  OP_FLAG_LAST,
  OP_HEADER_BYTES,
  OpKind,
  type OpView,
} from "../model/op.ts";
import { SET_OP_BYTES } from "./handlers/attributes.ts";
import { DirectoryReader } from "./handlers/directory.ts";
import { readFlags } from "./handlers/ioctl.ts";
import type { Prefetcher } from "./prefetcher.ts";
import { readXattrs } from "./read-xattrs.ts";
import type { TimeSettler } from "./time-settler.ts";
import type { WorkerContext } from "./worker-context.ts";

const BLOCK_BYTES = 1 << 20;
/** A part of a listing: its directory is locked while the attributes of its entries are read. */
const LISTING_PART_BYTES = 48 * 1024;
/**
 * Names that are added at once when a part is not full yet: few enough that the longest symlink
 * targets of all of them still fit the op.
 */
const GETDENTS_BYTES = 4096;
/** Above this share of the ring the mirror waits. */
const FILL_MAX = 0.5;
const NAP_MS = 1;
/** A file up to this size is read in one piece, attributes and data under one lock. */
const SMALL_FILE_BYTES = 64 * 1024;
/** Unit of `st_blocks`. */
const STAT_BLOCK_BYTES = 512;
const TARGET_BYTES_MAX = 4096;
/** For a node's record, and the one before it that settles its times. */
const NODE_ROOM_BYTES: number = OP_BYTES_MAX + SET_OP_BYTES;

const nap = new Int32Array(new SharedArrayBuffer(4));

/**
 * The ring is in a gap or stopped: what was being read cannot be recorded, and will be asked for
 * again.
 */
class Abandoned extends Error {}

/** The node cannot be read: the applying side is told, and the copy stays as it is. */
class Unreadable extends Error {
  readonly errno: number;

  /** `result`: `-errno`. A node that is gone is stale to those who have its handle. */
  constructor(result: number) {
    super(`errno ${-result}`);
    this.errno = result === -ESTALE ? ENOENT : -result;
  }
}

export interface MirrorReaderOptions {
  readonly context: WorkerContext;
  /** The pen of the mirror thread, which the readers of all its mounts share. */
  readonly writer: RingWriter;
  readonly settler: TimeSettler;
  readonly prefetcher: Prefetcher;
}

/** Of one mount. */
export class MirrorReader {
  readonly #context: WorkerContext;
  readonly #ring: Ring;
  readonly #writer: RingWriter;
  readonly #statx = new Statx();
  readonly #reader = new DirectoryReader();
  readonly #block: NativeMemory = allocateNative(BLOCK_BYTES);
  readonly #empty = allocateNative(8);
  readonly #settler: TimeSettler;
  readonly #prefetcher: Prefetcher;

  constructor(options: MirrorReaderOptions) {
    this.#context = options.context;
    this.#ring = options.writer.ring;
    this.#writer = options.writer;
    this.#settler = options.settler;
    this.#prefetcher = options.prefetcher;
  }

  /** Answers the command, unless nothing can be recorded. */
  serve(command: Command): void {
    try {
      this.#execute(command);
    } catch (error) {
      if (!(error instanceof Abandoned)) throw error;
      // The applying side asks again when recording goes on.
    }
  }

  #execute(command: Command): void {
    try {
      if (command.kind === CommandKind.directory) this.#directory(command);
      else if (command.kind === CommandKind.range) this.#range(command);
      else this.#node(command);
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      this.#missing(command, error.errno);
    }
  }

  #withLock<T>(ino: number, run: () => T): T {
    const { locks } = this.#context;
    locks.lock(ino);
    try {
      return run();
    } finally {
      locks.unlock(ino);
    }
  }

  /** Waits for spare room. Called without a lock in hand. */
  #waitForRoom(bytes: number): void {
    for (;;) {
      this.#settler.look();
      if (this.#ring.recording !== RecordingState.on) throw new Abandoned();
      const hasRoom = this.#ring.fill(this.#writer.arena) < FILL_MAX && this.#ring.hasIndexRoom();
      if (hasRoom && this.#writer.reserve(bytes) !== NO_ROOM) return;
      Atomics.wait(nap, 0, 0, NAP_MS);
    }
  }

  /** Starts a record; the room was waited for, and nobody else writes to this arena. */
  #start(kind: OpKind, command: Command, bytes: number): OpView {
    if (this.#writer.reserve(bytes) === NO_ROOM) throw new Error("the mirror's room is gone");
    const { op, at } = this.#writer;
    op.at(at).start(kind, command.mount, command.node);
    op.extra = command.number;
    return op;
  }

  #publish(op: OpView): void {
    this.#writer.publish(op.size);
  }

  #missing(command: Command, errno: number): void {
    this.#waitForRoom(OP_HEADER_BYTES);
    const op = this.#start(OpKind.mirrorMissing, command, OP_HEADER_BYTES);
    op.length = errno;
    op.flags = OP_FLAG_LAST;
    this.#publish(op);
  }

  /** Takes the node's status in hand. */
  #look(fd: number): void {
    const error = this.#statx.of(fd);
    if (error < 0) throw new Unreadable(error);
  }

  /** Header fields from the status in hand. */
  #fill(op: OpView): void {
    const status = this.#statx;
    op.mode = status.mode;
    op.uid = status.uid;
    op.gid = status.gid;
    op.setMtime(status.mtimeSec, status.mtimeNsec);
  }

  #directory(command: Command): void {
    const { beneath } = this.#context;
    const fd = beneath.open(command.node, O_RDONLY | O_DIRECTORY | O_NOATIME);
    if (fd < 0) throw new Unreadable(fd);
    try {
      let flags = OP_FLAG_FIRST;
      for (let isLast = false; !isLast; flags = 0) {
        this.#waitForRoom(OP_BYTES_MAX);
        isLast = this.#withLock(command.node, () => {
          const op = this.#start(OpKind.mirrorDirectory, command, OP_BYTES_MAX);
          const isEnd = this.#listPart(op, fd);
          op.flags = isEnd ? flags | OP_FLAG_LAST : flags;
          this.#publish(op);
          return isEnd;
        });
      }
    } finally {
      close(fd);
    }
  }

  /** Fills one part, under the directory's lock; true when the listing has ended. */
  #listPart(op: OpView, fd: number): boolean {
    startMirrorDirectory(op);
    let isLast = false;
    while (!isLast && op.size < LISTING_PART_BYTES) {
      const got = this.#reader.fill(fd, GETDENTS_BYTES);
      // A listing that cannot be read to its end must not pass for one that has ended: what it does
      // not show is removed from the copy.
      if (got < 0) throw new Unreadable(got);
      isLast = got === 0;
      for (; !this.#reader.isPastEnd; this.#reader.next()) {
        if (!this.#reader.isDot) this.#appendEntry(op, fd);
      }
    }
    // Last: its times change with its entries, and these are read.
    this.#look(fd);
    this.#fill(op);
    return isLast;
  }

  #appendEntry(op: OpView, fd: number): void {
    const { beneath } = this.#context;
    const status = this.#statx;
    const name = this.#reader.nameAddress;
    const found = status.atAddress(fd, name);
    // Somebody removed it beneath: then it is not there.
    if (found === -ENOENT) return;
    if (found < 0) throw new Unreadable(found);
    if (this.#context.isElsewhere(status)) return;
    const handle = beneath.readHandle(fd, name);
    if (handle < 0) throw new Unreadable(handle);
    beneath.pin(status.ino, status.isRegular);
    const target = (status.mode & 0o170000) === 0o120000 ? this.#readTarget(fd, name) : NOTHING;
    const bytes = directoryEntryBytes(this.#reader.nameLength, target.length);
    if (op.size + bytes > OP_BYTES_MAX) throw new Error("a listing part overflowed");
    appendDirectoryEntry(op, {
      ino: status.ino,
      size: status.size,
      mtimeSec: status.mtimeSec,
      mtimeNsec: status.mtimeNsec,
      mode: status.mode,
      uid: status.uid,
      gid: status.gid,
      links: status.nlink,
      rdev: status.rdev,
      name: this.#reader.name,
      target,
    });
  }

  #readTarget(dir: number, name: number): Uint8Array {
    const got = readlinkatAt(dir, name, this.#block.address, TARGET_BYTES_MAX);
    if (got < 0) throw new Unreadable(got);
    return this.#block.bytes.slice(0, got);
  }

  #node(command: Command): void {
    const node = this.#openNode(command.node);
    try {
      if (node.isRegular) this.#regular(command, node.fd);
      else this.#attributesOnly(command, node);
    } finally {
      close(node.fd);
    }
  }

  /** Opens files and directories for reading, and anything else for its attributes. */
  #openNode(ino: number): OpenNode {
    const { beneath } = this.#context;
    if (beneath.nodes.isRegular(ino)) return this.#openReal(ino, true);
    const place = beneath.open(ino, O_PATH | O_NOFOLLOW);
    const status = this.#statx;
    if (place < 0) throw new Unreadable(place);
    const found = status.of(place);
    const { isRegular } = status;
    const isReal = isRegular || status.isDirectory;
    if (found === 0 && !isReal) return { fd: place, isRegular, isReal };
    close(place);
    if (found < 0) throw new Unreadable(found);
    return this.#openReal(ino, isRegular);
  }

  #openReal(ino: number, isRegular: boolean): OpenNode {
    const fd = this.#context.beneath.open(ino, O_RDONLY | O_NOATIME | O_NONBLOCK);
    if (fd < 0) throw new Unreadable(fd);
    return { fd, isRegular, isReal: true };
  }

  #attributesOnly(command: Command, node: { fd: number; isReal: boolean }): void {
    this.#waitForRoom(NODE_ROOM_BYTES);
    this.#withLock(command.node, () => this.#publishNode(command, { ...node, isLast: true }));
  }

  /**
   * Reads attributes under the lock that the caller holds and publishes them, behind what makes
   * those of the ops before exact; returns the file's size. Room: {@link NODE_ROOM_BYTES}.
   */
  #publishNode(command: Command, node: { fd: number; isReal: boolean; isLast: boolean }): number {
    const status = this.#statx;
    if (node.isReal) this.#settler.settleLocked(command.mount, command.node, node.fd);
    this.#look(node.fd);
    const xattrs = readXattrs(node.fd, node.isReal);
    const isLink = (status.mode & 0o170000) === 0o120000;
    const flags = node.isReal ? readFlags(this.#context, node.fd) : { flags: 0, project: 0 };
    const described = {
      size: status.size,
      atimeSec: status.atimeSec,
      atimeNsec: status.atimeNsec,
      rdev: status.rdev,
      links: status.nlink,
      inodeFlags: flags.flags,
      projectId: flags.project,
      target: isLink ? this.#readTarget(node.fd, this.#empty.address) : NOTHING,
      xattrs,
    };
    const bytes = OP_HEADER_BYTES + mirrorNodeBytes(described);
    // More extended attributes than an op can carry.
    if (bytes > OP_BYTES_MAX) throw new Unreadable(-E2BIG);
    const op = this.#start(OpKind.mirrorNode, command, bytes);
    this.#fill(op);
    writeMirrorNode(op, described);
    const isLast = node.isLast || status.size === 0;
    if (isLast) op.flags = OP_FLAG_LAST;
    this.#publish(op);
    return status.size;
  }

  #regular(command: Command, fd: number): void {
    this.#waitForRoom(NODE_ROOM_BYTES);
    const isDone = this.#withLock(command.node, () => {
      const size = this.#publishNode(command, { fd, isReal: true, isLast: false });
      return size === 0 || this.#smallFile(command, fd);
    });
    if (!isDone) this.#blocks(command, fd, { from: command.offset, to: Number.POSITIVE_INFINITY });
  }

  /**
   * The data of a small file without holes, under the same lock as its attributes, whose status is
   * still at hand. False: read it block by block.
   */
  #smallFile(command: Command, fd: number): boolean {
    const { size, blocks } = this.#statx;
    const isWhole = size <= SMALL_FILE_BYTES && blocks * STAT_BLOCK_BYTES >= size;
    if (!isWhole || command.offset > 0) return false;
    if (this.#writer.reserve(OP_HEADER_BYTES + size) === NO_ROOM) return false;
    const isVerify = command.kind === CommandKind.verifyNode;
    const kind = isVerify ? OpKind.verifyBlock : OpKind.mirrorBlock;
    const op = this.#start(kind, command, OP_HEADER_BYTES + size);
    this.#fill(op);
    if (isVerify) this.#hash(op, fd, { at: 0, length: size });
    else this.#read(op, fd, { at: 0, length: size });
    op.flags = OP_FLAG_LAST;
    this.#publish(op);
    return true;
  }

  #range(command: Command): void {
    const fd = this.#context.beneath.open(command.node, O_RDONLY | O_NOATIME | O_NONBLOCK);
    if (fd < 0) throw new Unreadable(fd);
    try {
      this.#blocks(command, fd, { from: command.offset, to: command.offset + command.length });
    } finally {
      close(fd);
    }
  }

  /**
   * Publishes data (or hashes) block by block; the last record says so even when the file shrinks
   * meanwhile.
   */
  #blocks(command: Command, fd: number, range: { from: number; to: number }): void {
    const isVerify = command.kind === CommandKind.verifyNode;
    let at = range.from;
    for (let isLast = false; !isLast; ) {
      const kind = isVerify ? OpKind.verifyBlock : OpKind.mirrorBlock;
      const room = isVerify ? OP_HEADER_BYTES + 16 : OP_HEADER_BYTES + BLOCK_BYTES;
      this.#waitForRoom(room);
      const start = at;
      const block = this.#withLock(command.node, () => {
        const op = this.#start(kind, command, room);
        const made = isVerify
          ? this.#hashBlock(op, fd, start, range.to)
          : this.#dataBlock(op, fd, start, range.to);
        if (made.isLast) op.flags = OP_FLAG_LAST;
        this.#publish(op);
        return made;
      });
      at = block.end;
      isLast = block.isLast;
    }
  }

  /** One block of data, or the hole up to the next data. */
  #dataBlock(op: OpView, fd: number, at: number, to: number): { end: number; isLast: boolean } {
    this.#look(fd);
    const size = Math.min(this.#statx.size, to);
    this.#fill(op);
    op.offset = at;
    const data = lseek(fd, at, SEEK_DATA);
    const dataStart = data === -ENXIO ? size : data < 0 ? at : Math.min(data, size);
    if (dataStart > at || at >= size)
      return this.#hole(op, { at, end: Math.max(at, dataStart), size });
    const hole = lseek(fd, at, SEEK_HOLE);
    const dataEnd = hole < 0 ? size : Math.min(hole, size);
    const length = Math.min(BLOCK_BYTES, dataEnd - at);
    const got = this.#read(op, fd, { at, length });
    if (got < 0) return { end: at, isLast: true };
    return { end: at + got, isLast: got === 0 || at + got >= size };
  }

  #hole(
    op: OpView,
    hole: { at: number; end: number; size: number },
  ): { end: number; isLast: boolean } {
    op.bytes[op.base + 4] = OpKind.mirrorHole;
    op.length = hole.end - hole.at;
    op.size = OP_HEADER_BYTES;
    return { end: hole.end, isLast: hole.end >= hole.size };
  }

  /** The device beneath cannot read: the target must know that it has not got this file. */
  #unreadable(op: OpView, errno: number): void {
    op.bytes[op.base + 4] = OpKind.mirrorMissing;
    op.length = errno === EFBIG ? EIO : errno;
    op.size = OP_HEADER_BYTES;
  }

  /**
   * Reads straight to the record's place; returns the bytes, or `-errno` in a record that says so.
   */
  #read(op: OpView, fd: number, range: { at: number; length: number }): number {
    const into = this.#ring.memory.address + op.base + OP_HEADER_BYTES;
    const got = this.#pread(fd, into, range);
    if (got < 0) {
      this.#unreadable(op, -got);
      return got;
    }
    op.offset = range.at;
    op.length = got;
    op.size = OP_HEADER_BYTES + got;
    return got;
  }

  #pread(fd: number, into: number, { at, length }: { at: number; length: number }): number {
    const startMs = systemClock.monotonicMs();
    const got = preadAt(fd, into, length, at);
    this.#prefetcher.noteRead(length, systemClock.monotonicMs() - startMs);
    return got;
  }

  /** As {@link MirrorReader.#read}, for the hash of the data. */
  #hash(op: OpView, fd: number, range: { at: number; length: number }): number {
    const got = this.#pread(fd, this.#block.address, range);
    if (got < 0) {
      this.#unreadable(op, -got);
      return got;
    }
    op.offset = range.at;
    op.length = got;
    op.bytes.set(blockHash(this.#block.bytes.subarray(0, got)), op.body(0));
    op.size = OP_HEADER_BYTES + BLOCK_HASH_BYTES;
    return got;
  }

  #hashBlock(op: OpView, fd: number, at: number, to: number): { end: number; isLast: boolean } {
    this.#look(fd);
    const size = Math.min(this.#statx.size, to);
    this.#fill(op);
    op.offset = at;
    const length = Math.max(0, Math.min(BLOCK_BYTES, size - at));
    const got = this.#hash(op, fd, { at, length });
    if (got < 0) return { end: at, isLast: true };
    return { end: at + got, isLast: got === 0 || at + got >= size };
  }
}

/** `isReal` false: an O_PATH descriptor. */
interface OpenNode {
  readonly fd: number;
  readonly isRegular: boolean;
  readonly isReal: boolean;
}

const NOTHING = new Uint8Array(0);
