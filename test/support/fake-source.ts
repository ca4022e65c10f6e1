/**
 * A source without a mount: does operations on a real directory and writes the ops that the capture
 * engine would write, and answers mirror commands. Single-threaded, so that each op's place in the
 * order is plain.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { dirname, relative } from "node:path";
import { writeU64 } from "../../src/base/bytes.ts";
import { type Ring, RingWriter } from "../../src/journal/ring.ts";
import {
  OP_BYTES_MAX,
  OP_HEADER_BYTES,
  OpKind,
  type OpView,
  RENAME_EXCHANGE,
  TIME_BYTES,
} from "../../src/model/op.ts";
import {
  AT_FDCWD,
  cString,
  fallocate,
  mknodat,
  removexattr,
  renameat2,
  setxattr,
  utimensat,
  AT_SYMLINK_NOFOLLOW,
} from "../../src/platform/libc.ts";
import { getInodeFlags, INODE_FLAGS_MASK } from "../../src/platform/replica-files.ts";
import { Statx } from "../../src/platform/statx.ts";
import { FakeMirror, type Pieces, reserveOp } from "./fake-mirror.ts";

/** As good as whole. */
const WHOLE: Pieces = { entries: 50, bytes: 1 << 20 };

export class FakeSource {
  readonly root: string;
  readonly ring: Ring;
  readonly #writer: RingWriter;
  readonly #mirror: FakeMirror;
  readonly #status = new Statx();
  /** Paths by inode, for the commands, which name nodes. */
  readonly #paths = new Map<number, string>();
  #isRecording = true;

  constructor(root: string, ring: Ring, pieces: Pieces = WHOLE) {
    this.root = root;
    this.ring = ring;
    this.#writer = new RingWriter(ring, 0);
    this.#mirror = new FakeMirror(root, ring, this.#paths, pieces);
    this.#learn("");
  }

  /** When false, ops are done and not recorded, as in a gap, and nothing is answered. */
  get isRecording(): boolean {
    return this.#isRecording;
  }
  set isRecording(value: boolean) {
    this.#isRecording = value;
    if (!value) this.#mirror.abandon();
  }

  get rootIno(): number {
    return this.#stat("").ino;
  }

  #at(path: string): string {
    return path === "" ? this.root : `${this.root}/${path}`;
  }

  #learn(path: string): void {
    const status = lstatSync(this.#at(path));
    this.#paths.set(status.ino, path);
    if (!status.isDirectory()) return;
    for (const name of readdirSync(this.#at(path))) {
      this.#learn(path === "" ? name : `${path}/${name}`);
    }
  }

  #stat(path: string): Statx {
    const result = this.#status.at(AT_FDCWD, cString(this.#at(path)));
    if (result < 0) throw new Error(`statx ${path}: ${result}`);
    return this.#status;
  }

  ino(path: string): number {
    return this.#stat(path).ino;
  }

  #reserve(writer: RingWriter, bytes: number): OpView {
    return reserveOp(this.ring, writer, bytes);
  }

  /** Starts a record with the attributes of the node at `path` as they are now. */
  #start(kind: OpKind, path: string, bytes = OP_HEADER_BYTES): OpView {
    const status = this.#stat(path);
    const op = this.#reserve(this.#writer, bytes);
    op.start(kind, 0, status.ino);
    op.mode = status.mode;
    op.uid = status.uid;
    op.gid = status.gid;
    op.setMtime(status.mtimeSec, status.mtimeNsec);
    return op;
  }

  #publish(op: OpView, size: number): void {
    op.size = size;
    if (this.isRecording) this.#writer.publish(size);
  }

  #names(op: OpView, at: number, name: Uint8Array, name2: Uint8Array = new Uint8Array(0)): void {
    op.bytes.set(name, op.body(at));
    op.bytes.set(name2, op.body(at) + name.length);
    op.length1 = name.length;
    op.length2 = name2.length;
    this.#publish(op, OP_HEADER_BYTES + at + name.length + name2.length);
  }

  #parentTime(op: OpView, at: number, path: string): number {
    const status = this.#stat(parentOf(path));
    op.setTime(at, status.mtimeSec, status.mtimeNsec);
    return status.ino;
  }

  #created(path: string, target = ""): void {
    this.#paths.set(this.ino(path), path);
    const op = this.#start(OpKind.create, path, OP_BYTES_MAX);
    op.extra = this.#status.rdev;
    op.parent = this.#parentTime(op, 0, path);
    this.#names(op, TIME_BYTES, nameOf(path), Buffer.from(target));
    this.#inherited(path);
  }

  /** Behind a creation: inode flags that it has from its directory. */
  #inherited(path: string): void {
    const status = lstatSync(this.#at(path));
    if (!status.isFile() && !status.isDirectory()) return;
    const fd = openSync(this.#at(path), "r");
    const flags = getInodeFlags(fd);
    closeSync(fd);
    if (flags < 0 || (flags & INODE_FLAGS_MASK) === 0) return;
    const op = this.#start(OpKind.setflags, path, OP_HEADER_BYTES + 8);
    writeU64(op.view, op.body(0), flags);
    this.#publish(op, OP_HEADER_BYTES + 8);
  }

  create(path: string, mode = 0o644): void {
    closeSync(openSync(this.#at(path), "wx", mode));
    this.#created(path);
  }
  mkdir(path: string, mode = 0o755): void {
    mkdirSync(this.#at(path), mode);
    this.#created(path);
  }
  symlink(path: string, target: string): void {
    symlinkSync(target, this.#at(path));
    this.#created(path, target);
  }
  mknod(path: string, mode: number, device = 0): void {
    const result = mknodat(AT_FDCWD, cString(this.#at(path)), mode, device);
    if (result < 0) throw new Error(`ERRNO mknod: ${result}`);
    this.#created(path);
  }

  write(path: string, offset: number, data: Uint8Array): void {
    const fd = openSync(this.#at(path), "r+");
    writeSync(fd, data, 0, data.length, offset);
    closeSync(fd);
    const op = this.#start(OpKind.write, path, OP_HEADER_BYTES + data.length);
    op.offset = offset;
    op.length = data.length;
    op.bytes.set(data, op.body(0));
    this.#publish(op, OP_HEADER_BYTES + data.length);
  }

  #setattr(path: string, valid: number): void {
    const op = this.#start(OpKind.setattr, path, OP_HEADER_BYTES + 32);
    const status = this.#status;
    op.setTime(0, status.atimeSec, status.atimeNsec);
    op.setSetattr(status.size, valid);
    this.#publish(op, OP_HEADER_BYTES + 32);
  }
  truncate(path: string, size: number): void {
    const fd = openSync(this.#at(path), "r+");
    ftruncateSync(fd, size);
    closeSync(fd);
    this.#setattr(path, 8);
  }
  chmod(path: string, mode: number): void {
    chmodSync(this.#at(path), mode);
    this.#setattr(path, 1);
  }
  chown(path: string, uid: number, gid: number): void {
    chownSync(this.#at(path), uid, gid);
    this.#setattr(path, 2 | 4);
  }
  utimes(path: string, sec: number, nsec: number): void {
    const times = Buffer.alloc(32);
    for (const at of [0, 16]) {
      times.writeBigInt64LE(BigInt(sec), at);
      times.writeBigInt64LE(BigInt(nsec), at + 8);
    }
    utimensat(AT_FDCWD, cString(this.#at(path)), times, AT_SYMLINK_NOFOLLOW);
    this.#setattr(path, 16 | 32);
  }

  fallocate(path: string, mode: number, offset: number, length: number): void {
    const fd = openSync(this.#at(path), "r+");
    const result = fallocate(fd, mode, offset, length);
    closeSync(fd);
    if (result < 0) throw new Error(`fallocate: ${result}`);
    const op = this.#start(OpKind.fallocate, path);
    op.offset = offset;
    op.length = length;
    op.extra = mode;
    this.#publish(op, OP_HEADER_BYTES);
  }

  /** Within one file or between two; the ranges must not overlap. */
  copy(path: string, offset: number, from: string, fromOffset: number, length: number): void {
    const data = Buffer.alloc(length);
    const source = openSync(this.#at(from), "r");
    const got = readSync(source, data, 0, length, fromOffset);
    closeSync(source);
    if (got === 0) return;
    const fd = openSync(this.#at(path), "r+");
    writeSync(fd, data, 0, got, offset);
    closeSync(fd);
    const sourceIno = this.ino(from);
    const op = this.#start(OpKind.copy, path, OP_HEADER_BYTES + 8);
    op.offset = offset;
    op.length = got;
    op.extra = sourceIno;
    writeU64(op.view, op.body(0), fromOffset);
    this.#publish(op, OP_HEADER_BYTES + 8);
  }

  setxattr(path: string, name: string, value: Uint8Array): void {
    const result = setxattr(cString(this.#at(path)), cString(name), value, value.length, 0);
    if (result < 0) throw new Error(`setxattr ${name}: ${result}`);
    this.#names(this.#start(OpKind.setxattr, path, OP_BYTES_MAX), 0, Buffer.from(name), value);
  }
  removexattr(path: string, name: string): void {
    if (removexattr(cString(this.#at(path)), cString(name)) < 0) return;
    this.#names(this.#start(OpKind.removexattr, path, OP_BYTES_MAX), 0, Buffer.from(name));
  }

  link(path: string, existing: string): void {
    linkSync(this.#at(existing), this.#at(path));
    const op = this.#start(OpKind.link, path, OP_BYTES_MAX);
    op.parent = this.#parentTime(op, 0, path);
    this.#names(op, TIME_BYTES, nameOf(path));
  }

  remove(path: string): void {
    const status = lstatSync(this.#at(path));
    if (status.isDirectory()) rmdirSync(this.#at(path));
    else unlinkSync(this.#at(path));
    const op = this.#reserve(this.#writer, OP_BYTES_MAX);
    op.start(OpKind.unlink, 0, status.ino);
    op.mode = status.mode;
    op.extra = status.isDirectory() ? 0 : status.nlink - 1;
    op.parent = this.#parentTime(op, 0, path);
    if (op.extra === 0) this.#paths.delete(status.ino);
    else this.#relearn(status.ino);
    this.#names(op, TIME_BYTES, nameOf(path));
  }

  rename(from: string, to: string): void {
    const moved = lstatSync(this.#at(from));
    const replaced = lstatSync(this.#at(to), { throwIfNoEntry: false });
    if (replaced?.ino === moved.ino) return;
    renameSync(this.#at(from), this.#at(to));
    if (replaced !== undefined) this.#relearn(replaced.ino);
    this.#learn(to);
    const op = this.#start(OpKind.rename, to, OP_BYTES_MAX);
    op.extra = replaced?.ino ?? 0;
    op.parent = this.#parentTime(op, 0, from);
    op.newParent = this.#parentTime(op, TIME_BYTES, to);
    this.#names(op, 2 * TIME_BYTES, nameOf(from), nameOf(to));
  }

  exchange(from: string, to: string): void {
    const other = this.ino(to);
    const result = renameat2(
      AT_FDCWD,
      cString(this.#at(from)),
      AT_FDCWD,
      cString(this.#at(to)),
      RENAME_EXCHANGE,
    );
    if (result < 0) throw new Error(`exchange: ${result}`);
    this.#learn(to);
    this.#learn(from);
    const op = this.#start(OpKind.rename, to, OP_BYTES_MAX);
    op.flags = RENAME_EXCHANGE;
    op.extra = other;
    op.parent = this.#parentTime(op, 0, from);
    op.newParent = this.#parentTime(op, TIME_BYTES, to);
    this.#names(op, 2 * TIME_BYTES, nameOf(from), nameOf(to));
  }

  /**
   * A nameless file, and what O_TMPFILE users do with it. Its path on the source is one outside of
   * the root.
   */
  tmpfile(path: string): number {
    closeSync(openSync(path, "wx", 0o600));
    const status = lstatSync(path);
    this.#paths.set(status.ino, relative(this.root, path));
    const op = this.#reserve(this.#writer, OP_HEADER_BYTES);
    op.start(OpKind.tmpfile, 0, status.ino);
    op.mode = status.mode;
    const { mtimeSec, mtimeNsec } = this.#stat(relative(this.root, path));
    op.setMtime(mtimeSec, mtimeNsec);
    this.#publish(op, OP_HEADER_BYTES);
    return status.ino;
  }

  /** Gives the nameless file a name. */
  linkTmpfile(path: string, nameless: string): void {
    renameSync(nameless, this.#at(path));
    this.#learn(path);
    this.utimes(path, 1_000_000, 5);
    const op = this.#start(OpKind.link, path, OP_BYTES_MAX);
    op.parent = this.#parentTime(op, 0, path);
    this.#names(op, TIME_BYTES, nameOf(path));
  }

  /** Nobody has the file open any more. */
  forget(ino: number): void {
    if (this.#paths.get(ino)?.startsWith("../")) this.#paths.delete(ino);
    const op = this.#reserve(this.#writer, OP_HEADER_BYTES);
    op.start(OpKind.forget, 0, ino);
    this.#publish(op, OP_HEADER_BYTES);
  }

  /** A name of the inode that still exists, found by looking everywhere. */
  #relearn(ino: number): void {
    this.#paths.delete(ino);
    this.#learn("");
  }

  /** Answers the commands that are there. Returns how many. */
  serve(countMax = Number.POSITIVE_INFINITY): number {
    return this.#isRecording ? this.#mirror.serve(countMax) : 0;
  }

  /** The next records of the answers. */
  serveRecords(count: number): void {
    for (let i = 0; i < count && this.#isRecording; i++) this.#mirror.serveRecord();
  }
}

function parentOf(path: string): string {
  const parent = dirname(path);
  return parent === "." ? "" : parent;
}

function nameOf(path: string): Buffer {
  return Buffer.from(path.slice(path.lastIndexOf("/") + 1));
}
