/** The part of a fake source that answers mirror commands. */
import { lstatSync, readdirSync, readlinkSync, readSync } from "node:fs";
import { type Command, CommandKind, CommandQueue } from "../../src/journal/command-queue.ts";
import { NO_ROOM, type Ring, RingWriter } from "../../src/journal/ring.ts";
import {
  appendDirectoryEntry,
  mirrorNodeBytes,
  startMirrorDirectory,
  writeMirrorNode,
} from "../../src/model/mirror-record.ts";
import {
  OP_BYTES_MAX,
  OP_FLAG_FIRST,
  OP_FLAG_LAST,
  OP_HEADER_BYTES,
  OpKind,
  type OpView,
} from "../../src/model/op.ts";
import { blockHash } from "../../src/platform/hash.ts";
import {
  AT_FDCWD,
  close,
  cString,
  lseek,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  openat,
  SEEK_DATA,
  SEEK_HOLE,
} from "../../src/platform/libc.ts";
import { getInodeFlags, xattrNames, xattrValue } from "../../src/platform/replica-files.ts";
import { Statx } from "../../src/platform/statx.ts";

/** What one record may hold. */
export interface Pieces {
  /** Of a listing: names. */
  readonly entries: number;
  /** Of a file: bytes. One of this size is read together with its attributes. */
  readonly bytes: number;
}

/** Room for a record; waits for the reader when there is none. */
export function reserveOp(ring: Ring, writer: RingWriter, bytes: number): OpView {
  for (;;) {
    const at = ring.hasIndexRoom() ? writer.reserve(bytes) : NO_ROOM;
    if (at !== NO_ROOM) return writer.op.at(at);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
  }
}

export class FakeMirror {
  readonly #root: string;
  readonly #ring: Ring;
  readonly #mirror: RingWriter;
  readonly #queue: CommandQueue;
  readonly #pieces: Pieces;
  readonly #status = new Statx();
  /** Paths by inode, for the commands, which name nodes. */
  readonly #paths: Map<number, string>;
  /** Of the answer in hand. */
  #records: Generator<void> | undefined;

  constructor(root: string, ring: Ring, paths: Map<number, string>, pieces: Pieces) {
    this.#root = root;
    this.#ring = ring;
    this.#mirror = new RingWriter(ring, 1);
    this.#queue = new CommandQueue(ring);
    this.#paths = paths;
    this.#pieces = pieces;
  }

  #at(path: string): string {
    return path === "" ? this.#root : `${this.#root}/${path}`;
  }

  /** Answers the commands that are there, each to its end. Returns how many. */
  serve(countMax: number): number {
    let count = 0;
    for (; count < countMax && this.serveRecord(); count++) {
      while (this.#records !== undefined) this.serveRecord();
    }
    return count;
  }

  /** The next record of the answer in hand, or of the next one. False when nothing is asked. */
  serveRecord(): boolean {
    if (this.#records === undefined) {
      const command = this.#queue.peek();
      if (command === undefined) return false;
      this.#records = this.#answer(command);
    }
    if (this.#records.next().done === true) {
      this.#records = undefined;
      this.#queue.pop();
    }
    return true;
  }

  /** Gives up the answer in hand: nothing can be recorded. */
  abandon(): void {
    this.#records?.return(undefined);
    this.#records = undefined;
  }

  /** Stops after each record but the last. */
  *#answer(command: Command): Generator<void> {
    const path = this.#paths.get(command.node);
    const status =
      path === undefined ? undefined : lstatSync(this.#at(path), { throwIfNoEntry: false });
    if (path === undefined || status?.ino !== command.node) {
      this.#missing(command);
      return;
    }
    const isList = command.kind === CommandKind.directory;
    const isRange = command.kind === CommandKind.range;
    if (isList && !status.isDirectory()) this.#missing(command, 20);
    else if (isRange && !status.isFile()) this.#missing(command);
    else {
      const isReal = status.isFile() || status.isDirectory();
      const flags = isReal ? O_RDONLY : O_PATH | O_NOFOLLOW;
      const fd = openat(AT_FDCWD, cString(this.#at(path)), flags);
      try {
        if (isList) yield* this.#list(command, fd);
        else if (isRange) yield* this.#blocks(command, fd);
        else yield* this.#node(command, fd);
      } finally {
        close(fd);
      }
    }
  }

  #mirrorOp(kind: OpKind, command: Command, fd: number): OpView {
    const status = this.#status;
    if (status.of(fd) < 0) throw new Error(`statx ${command.node}`);
    const op = reserveOp(this.#ring, this.#mirror, OP_BYTES_MAX);
    op.start(kind, 0, command.node);
    op.extra = command.number;
    op.mode = status.mode;
    op.uid = status.uid;
    op.gid = status.gid;
    op.setMtime(status.mtimeSec, status.mtimeNsec);
    return op;
  }

  #missing(command: Command, errno = 2): void {
    const op = reserveOp(this.#ring, this.#mirror, OP_HEADER_BYTES);
    op.start(OpKind.mirrorMissing, 0, command.node);
    op.extra = command.number;
    op.length = errno;
    op.flags = OP_FLAG_LAST;
    this.#mirror.publish(op.size);
  }

  *#list(command: Command, fd: number): Generator<void> {
    const names = readdirSync(`/proc/self/fd/${fd}`, { encoding: "buffer" });
    const { entries } = this.#pieces;
    for (let at = 0; at === 0 || at < names.length; at += entries) {
      if (at > 0) yield;
      const op = this.#mirrorOp(OpKind.mirrorDirectory, command, fd);
      startMirrorDirectory(op);
      for (const name of names.slice(at, at + entries)) this.#entry(op, fd, name);
      const isLast = at + entries >= names.length;
      op.flags = (at === 0 ? OP_FLAG_FIRST : 0) | (isLast ? OP_FLAG_LAST : 0);
      this.#mirror.publish(op.size);
    }
  }

  #entry(op: OpView, fd: number, name: Uint8Array): void {
    const status = this.#status;
    // Gone since the listing was begun.
    if (status.at(fd, cString(name)) < 0) return;
    const directory = this.#paths.get(op.node);
    this.#paths.set(status.ino, directory === "" ? name.toString() : `${directory}/${name}`);
    const { ino, size, mtimeSec, mtimeNsec, mode, uid, gid, nlink, rdev } = status;
    const isLink = (mode & 0o170000) === 0o120000;
    const target = isLink ? readlinkSync(`/proc/self/fd/${fd}/${name}`, "buffer") : NOTHING;
    const rest = { rdev, name, target };
    appendDirectoryEntry(op, {
      ...{ ino, size, mtimeSec, mtimeNsec, mode, uid, gid, links: nlink },
      ...rest,
    });
  }

  *#node(command: Command, fd: number): Generator<void> {
    const size = this.#attributes(command, fd);
    if (size === 0) return;
    if (size > this.#pieces.bytes) yield;
    yield* this.#blocks(command, fd);
  }

  /** Returns how much data is to follow. */
  #attributes(command: Command, fd: number): number {
    const xattrs = xattrNames(fd, true).map((name) => ({
      name,
      value: xattrValue(fd, name, true) ?? NOTHING,
    }));
    const op = this.#mirrorOp(OpKind.mirrorNode, command, fd);
    const { size, atimeSec, atimeNsec, rdev, nlink, mode, isRegular, isDirectory } = this.#status;
    const isLink = (mode & 0o170000) === 0o120000;
    const isNameless = this.#paths.get(command.node)!.startsWith("../");
    const links = isNameless ? 0 : nlink;
    const described = {
      ...{ size, atimeSec, atimeNsec, rdev, links, projectId: 0 },
      // A special file has none.
      inodeFlags: isRegular || isDirectory ? Math.max(getInodeFlags(fd), 0) : 0,
      target: isLink ? readlinkSync(this.#at(this.#paths.get(command.node)!), "buffer") : NOTHING,
      xattrs,
    };
    if (mirrorNodeBytes(described) > OP_BYTES_MAX) throw new Error("too many xattrs");
    writeMirrorNode(op, described);
    const data = isRegular ? size : 0;
    if (data === 0) op.flags = OP_FLAG_LAST;
    this.#mirror.publish(op.size);
    return data;
  }

  *#blocks(command: Command, fd: number): Generator<void> {
    const isRange = command.kind === CommandKind.range;
    const isVerify = command.kind === CommandKind.verifyNode;
    for (let at = command.offset; ; ) {
      const op = this.#mirrorOp(OpKind.mirrorBlock, command, fd);
      const { size } = this.#status;
      const end = isRange ? Math.min(size, command.offset + command.length) : size;
      op.offset = at;
      at = isVerify ? this.#hash(op, fd, at, end) : this.#data(op, fd, at, end);
      if (at >= end) op.flags = OP_FLAG_LAST;
      this.#mirror.publish(op.size);
      if (at >= end) return;
      yield;
    }
  }

  #hash(op: OpView, fd: number, at: number, end: number): number {
    const block = Buffer.alloc(Math.max(0, Math.min(this.#pieces.bytes, end - at)));
    readSync(fd, block, 0, block.length, at);
    op.bytes[op.base + 4] = OpKind.verifyBlock;
    op.length = block.length;
    op.bytes.set(blockHash(block), op.body(0));
    op.size = OP_HEADER_BYTES + 16;
    return at + block.length;
  }

  #data(op: OpView, fd: number, at: number, end: number): number {
    const data = lseek(fd, at, SEEK_DATA);
    const dataStart = data < 0 ? end : Math.min(data, end);
    if (dataStart > at || at >= end) {
      op.bytes[op.base + 4] = OpKind.mirrorHole;
      op.length = Math.max(0, dataStart - at);
      op.size = OP_HEADER_BYTES;
      return Math.max(at, dataStart);
    }
    const hole = lseek(fd, at, SEEK_HOLE);
    const length = Math.min(this.#pieces.bytes, (hole < 0 ? end : Math.min(hole, end)) - at);
    readSync(fd, op.bytes, op.body(0), length, at);
    op.length = length;
    op.size = OP_HEADER_BYTES + length;
    return at + length;
  }
}

const NOTHING = new Uint8Array(0);
