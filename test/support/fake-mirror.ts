/** The part of a fake source that answers mirror commands. */
import {
  closeSync,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from "node:fs";
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

const BLOCK = 1 << 20;
const LISTING_ENTRIES = 50;

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
  readonly #status = new Statx();
  /** Paths by inode, for the commands, which name nodes. */
  readonly #paths: Map<number, string>;

  constructor(root: string, ring: Ring, paths: Map<number, string>) {
    this.#root = root;
    this.#ring = ring;
    this.#mirror = new RingWriter(ring, 1);
    this.#queue = new CommandQueue(ring);
    this.#paths = paths;
  }

  #at(path: string): string {
    return path === "" ? this.#root : `${this.#root}/${path}`;
  }

  #stat(path: string): Statx {
    const result = this.#status.at(AT_FDCWD, cString(this.#at(path)));
    if (result < 0) throw new Error(`statx ${path}: ${result}`);
    return this.#status;
  }

  /** Answers the commands that are there. Returns how many. */
  serve(countMax = Number.POSITIVE_INFINITY): number {
    let count = 0;
    for (; count < countMax; count++) {
      const command = this.#queue.peek();
      if (command === undefined) break;
      this.#answer(command);
      this.#queue.pop();
    }
    return count;
  }

  #answer(command: Command): void {
    const path = this.#paths.get(command.node);
    const status =
      path === undefined ? undefined : lstatSync(this.#at(path), { throwIfNoEntry: false });
    if (path === undefined || status?.ino !== command.node) {
      this.#missing(command);
      return;
    }
    if (command.kind === CommandKind.directory) {
      if (status.isDirectory()) this.#list(command, path);
      else this.#missing(command, 20);
    } else if (command.kind === CommandKind.range && !status.isFile()) this.#missing(command);
    else if (command.kind === CommandKind.range) this.#blocks(command, path);
    else {
      const hasBlocks = status.isFile() && status.size > 0;
      this.#node(command, path, !hasBlocks);
      if (hasBlocks) this.#blocks(command, path);
    }
  }

  #mirrorOp(kind: OpKind, command: Command, path: string): OpView {
    const status = this.#stat(path);
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

  #list(command: Command, path: string): void {
    const names = readdirSync(this.#at(path), { encoding: "buffer" });
    for (let at = 0; at === 0 || at < names.length; at += LISTING_ENTRIES) {
      const op = this.#mirrorOp(OpKind.mirrorDirectory, command, path);
      startMirrorDirectory(op);
      for (const name of names.slice(at, at + LISTING_ENTRIES)) this.#entry(op, path, name);
      const isLast = at + LISTING_ENTRIES >= names.length;
      op.flags = (at === 0 ? OP_FLAG_FIRST : 0) | (isLast ? OP_FLAG_LAST : 0);
      this.#mirror.publish(op.size);
    }
  }

  #entry(op: OpView, directory: string, name: Uint8Array): void {
    const path = directory === "" ? name.toString() : `${directory}/${name}`;
    const status = this.#stat(path);
    this.#paths.set(status.ino, path);
    const { ino, size, mtimeSec, mtimeNsec, mode, uid, gid, nlink, rdev } = status;
    const isLink = (mode & 0o170000) === 0o120000;
    const target = isLink ? readlinkSync(this.#at(path), "buffer") : new Uint8Array(0);
    const rest = { rdev, name, target };
    appendDirectoryEntry(op, {
      ...{ ino, size, mtimeSec, mtimeNsec, mode, uid, gid, links: nlink },
      ...rest,
    });
  }

  /** Of files and directories; a special file has none, and may not be opened to ask. */
  #inodeFlags(path: string, mode: number): number {
    const type = mode & 0o170000;
    if (type !== 0o100000 && type !== 0o040000) return 0;
    const fd = openat(AT_FDCWD, cString(this.#at(path)), O_RDONLY);
    const flags = getInodeFlags(fd);
    close(fd);
    return Math.max(flags, 0);
  }

  #node(command: Command, path: string, isLast: boolean): void {
    const fd = openat(AT_FDCWD, cString(this.#at(path)), O_PATH | O_NOFOLLOW);
    const xattrs = xattrNames(fd, true).map((name) => ({
      name,
      value: xattrValue(fd, name, true) ?? new Uint8Array(0),
    }));
    close(fd);
    const op = this.#mirrorOp(OpKind.mirrorNode, command, path);
    const { size, atimeSec, atimeNsec, rdev, nlink, mode } = this.#status;
    const isLink = (mode & 0o170000) === 0o120000;
    const described = {
      ...{ size, atimeSec, atimeNsec, rdev, links: nlink, projectId: 0 },
      inodeFlags: this.#inodeFlags(path, mode),
      target: isLink ? readlinkSync(this.#at(path), "buffer") : new Uint8Array(0),
      xattrs,
    };
    if (mirrorNodeBytes(described) > OP_BYTES_MAX) throw new Error("too many xattrs");
    writeMirrorNode(op, described);
    if (isLast) op.flags = OP_FLAG_LAST;
    this.#mirror.publish(op.size);
  }

  #blocks(command: Command, path: string): void {
    const fd = openSync(this.#at(path), "r");
    const { size } = fstatSync(fd);
    const end =
      command.kind === CommandKind.range ? Math.min(size, command.offset + command.length) : size;
    const isVerify = command.kind === CommandKind.verifyNode;
    for (let at = command.offset; ; ) {
      const op = this.#mirrorOp(OpKind.mirrorBlock, command, path);
      op.offset = at;
      const next = isVerify ? this.#hash(op, fd, at, end) : this.#data(op, fd, at, end);
      if (next >= end) op.flags = OP_FLAG_LAST;
      this.#mirror.publish(op.size);
      at = next;
      if (at >= end) break;
    }
    closeSync(fd);
  }

  #hash(op: OpView, fd: number, at: number, end: number): number {
    const block = Buffer.alloc(Math.max(0, Math.min(BLOCK, end - at)));
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
    const length = Math.min(BLOCK, (hole < 0 ? end : Math.min(hole, end)) - at);
    readSync(fd, op.bytes, op.body(0), length, at);
    op.length = length;
    op.size = OP_HEADER_BYTES + length;
    return at + length;
  }
}
