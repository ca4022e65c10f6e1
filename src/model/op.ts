/**
 * The op: one change of the protected folders, as it stands in the ring, in segments and on the
 * wire.
 *
 * A record is a fixed header of 80 bytes and a body. 80 bytes is the size of what the kernel puts
 * before the data of a FUSE write, so that a write's record is made in place, around bytes that
 * never move.
 *
 * All numbers little-endian; 64-bit ones as two halves (base/bytes.ts). A node is named by (mount,
 * ino): an inode number is unambiguous at every LSN, because the op that ends its last name
 * precedes the op that creates another node with the same number.
 *
 * An op carries the *resulting* attributes (mode, owner, times), read beneath after the change, so
 * that applying it needs no knowledge of how the source's file system computed them.
 *
 * Header:
 *
 *     0  u32 size        header and body
 *     4  u8  kind
 *     5  u8  flags
 *     6  u16 mount       which protected path of the job
 *     8  u64 lsn
 *    16  u64 node
 *    24  u64 a           offset | parent
 *    32  u64 b           length | second parent
 *    40  i64 mtime.sec   of the node
 *    48  u32 mtime.nsec
 *    52  u32 mode        type and permissions
 *    56  u32 uid
 *    60  u32 gid
 *    64  u32 length1     bytes of the first name in the body
 *    68  u32 length2     bytes of the second name, target or value
 *    72  u64 extra       by kind, see the table
 *
 * Body by kind ("time" is i64 sec, u32 nsec, u32 zero):
 *
 *     write            data                           a=offset b=length
 *     setattr          time atime, u64 size, u32 valid, u32 0 valid: SETATTR_*
 *     fallocate        -                              a=offset b=length extra=fallocate(2)'s mode
 *     copy             -                              a=offset b=length, extra=source node,
 *                                                     body: u64 source offset
 *     setxattr         name, value
 *     removexattr      name
 *     setflags         u32 flags, u32 project id      FS_IOC_SETFLAGS / FS_IOC_FSSETXATTR
 *     create           time of parent, name, target   a=parent extra=rdev (mode has the type)
 *     link             time of parent, name           a=parent
 *     unlink           time of parent, name           a=parent extra=links left (0: it is gone)
 *     rename           times of parents, name, new name a=parent b=new parent, flags RENAME_*,
 *                                                     extra=node replaced or exchanged, 0 if none
 *     tmpfile          -                              nameless until a link op
 *     forget           -                              a nameless node is gone
 *     void             -                              fills an LSN that a killed engine left open
 *     gap              -                              ops after this LSN were lost: resync
 *     mirror-directory see mirror-record.ts           extra=command
 *     mirror-node      see mirror-record.ts           extra=command
 *     mirror-block     data                           a=offset b=length extra=command
 *     mirror-hole      -                              a=offset b=length extra=command
 *     verify-block     16 bytes of XXH3-128           a=offset b=length extra=command
 *     mirror-missing   -                              extra=command: could not be read,
 *                                                     b=errno
 */
import { readI64, readU64, writeI64, writeU64 } from "../base/bytes.ts";

export const OP_HEADER_BYTES = 80;

/**
 * A record longer than this is refused by every reader: 1 MiB of data and room for names and
 * attributes.
 */
export const OP_BYTES_MAX: number = (1 << 20) + 8192;

export const OpKind = {
  void: 0,
  write: 1,
  setattr: 2,
  fallocate: 3,
  copy: 4,
  setxattr: 5,
  removexattr: 6,
  setflags: 7,
  create: 8,
  link: 9,
  unlink: 10,
  rename: 11,
  tmpfile: 12,
  forget: 13,
  gap: 14,
  mirrorDirectory: 16,
  mirrorNode: 17,
  mirrorBlock: 18,
  mirrorHole: 19,
  verifyBlock: 20,
  mirrorMissing: 21,
} as const;

export type OpKind = (typeof OpKind)[keyof typeof OpKind];

const KIND_NAMES = new Map<number, string>(
  Object.entries(OpKind).map(([name, kind]) => [kind, name]),
);

export function opKindName(kind: number): string {
  return KIND_NAMES.get(kind) ?? `unknown(${kind})`;
}

/** Flags of `rename`, the kernel's own values. */
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

/** The last record of a mirror command: the command is done when this is applied. */
export const OP_FLAG_LAST = 1;
/** The first record of a directory's listing. */
export const OP_FLAG_FIRST = 2;

/** Which attributes a `setattr` changed. Times are recorded always, but applied for these only. */
export const SETATTR_MODE = 1;
export const SETATTR_UID = 2;
export const SETATTR_GID = 4;
export const SETATTR_SIZE = 8;
export const SETATTR_ATIME = 16;
export const SETATTR_MTIME = 32;

/** Bytes of a time in a body. */
export const TIME_BYTES = 16;
/** Bytes of a `setattr` body. */
export const SETATTR_BYTES = 32;

/**
 * A window on one record. Point it with {@link at}; nothing is copied. Setters serve the writer,
 * getters the reader; offsets beyond the record are the caller's duty ({@link validateOp} first on
 * anything read).
 */
export class OpView {
  view: DataView;
  bytes: Uint8Array;
  base = 0;

  constructor(buffer: ArrayBuffer) {
    this.view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
  }

  at(base: number): this {
    this.base = base;
    return this;
  }

  /** Writes the header's fixed part and zeroes the rest of the header. */
  start(kind: OpKind, mount: number, node: number): void {
    const { bytes, view, base } = this;
    // A call of fill() costs more than ten stores.
    for (let at = base; at < base + OP_HEADER_BYTES; at += 8) view.setFloat64(at, 0, true);
    view.setUint32(base, OP_HEADER_BYTES, true);
    bytes[base + 4] = kind;
    view.setUint16(base + 6, mount, true);
    writeU64(view, base + 16, node);
  }

  get size(): number {
    return this.view.getUint32(this.base, true);
  }
  set size(value: number) {
    this.view.setUint32(this.base, value, true);
  }
  get kind(): number {
    return this.bytes[this.base + 4] as number;
  }
  get flags(): number {
    return this.bytes[this.base + 5] as number;
  }
  set flags(value: number) {
    this.bytes[this.base + 5] = value;
  }
  get mount(): number {
    return this.view.getUint16(this.base + 6, true);
  }
  get lsn(): number {
    return readU64(this.view, this.base + 8);
  }
  set lsn(value: number) {
    writeU64(this.view, this.base + 8, value);
  }
  get node(): number {
    return readU64(this.view, this.base + 16);
  }
  set node(value: number) {
    writeU64(this.view, this.base + 16, value);
  }
  get offset(): number {
    return readU64(this.view, this.base + 24);
  }
  set offset(value: number) {
    writeU64(this.view, this.base + 24, value);
  }
  /** Same field as `offset`, for namespace ops. */
  get parent(): number {
    return this.offset;
  }
  set parent(value: number) {
    this.offset = value;
  }
  get length(): number {
    return readU64(this.view, this.base + 32);
  }
  set length(value: number) {
    writeU64(this.view, this.base + 32, value);
  }
  /** Same field as `length`, for `rename`. */
  get newParent(): number {
    return this.length;
  }
  set newParent(value: number) {
    this.length = value;
  }
  get mtimeSec(): number {
    return readI64(this.view, this.base + 40);
  }
  get mtimeNsec(): number {
    return this.view.getUint32(this.base + 48, true);
  }
  setMtime(sec: number, nsec: number): void {
    writeI64(this.view, this.base + 40, sec);
    this.view.setUint32(this.base + 48, nsec, true);
  }
  get mode(): number {
    return this.view.getUint32(this.base + 52, true);
  }
  set mode(value: number) {
    this.view.setUint32(this.base + 52, value, true);
  }
  get uid(): number {
    return this.view.getUint32(this.base + 56, true);
  }
  set uid(value: number) {
    this.view.setUint32(this.base + 56, value, true);
  }
  get gid(): number {
    return this.view.getUint32(this.base + 60, true);
  }
  set gid(value: number) {
    this.view.setUint32(this.base + 60, value, true);
  }
  get length1(): number {
    return this.view.getUint32(this.base + 64, true);
  }
  set length1(value: number) {
    this.view.setUint32(this.base + 64, value, true);
  }
  get length2(): number {
    return this.view.getUint32(this.base + 68, true);
  }
  set length2(value: number) {
    this.view.setUint32(this.base + 68, value, true);
  }
  get extra(): number {
    return readU64(this.view, this.base + 72);
  }
  set extra(value: number) {
    writeU64(this.view, this.base + 72, value);
  }

  /** Absolute position of the body's byte `at`. */
  body(at: number): number {
    return this.base + OP_HEADER_BYTES + at;
  }
  timeSec(at: number): number {
    return readI64(this.view, this.body(at));
  }
  timeNsec(at: number): number {
    return this.view.getUint32(this.body(at) + 8, true);
  }
  setTime(at: number, sec: number, nsec: number): void {
    writeI64(this.view, this.body(at), sec);
    this.view.setUint32(this.body(at) + 8, nsec, true);
    this.view.setUint32(this.body(at) + 12, 0, true);
  }

  /** Bytes of times before the names of a namespace op. */
  get namesAt(): number {
    if (this.kind === OpKind.rename) return 2 * TIME_BYTES;
    const timed = this.kind === OpKind.create || this.kind === OpKind.link;
    return timed || this.kind === OpKind.unlink ? TIME_BYTES : 0;
  }
  /** First name: of the entry, or of the extended attribute. A view, not a copy. */
  get name(): Uint8Array {
    const start = this.body(this.namesAt);
    return this.bytes.subarray(start, start + this.length1);
  }
  /**
   * Second name: new name, symlink target, or value of the extended attribute. A view, not a copy.
   */
  get name2(): Uint8Array {
    const start = this.body(this.namesAt) + this.length1;
    return this.bytes.subarray(start, start + this.length2);
  }
  /** The bytes of a `write` or `mirror-block`. A view, not a copy. */
  get data(): Uint8Array {
    return this.bytes.subarray(this.body(0), this.base + this.size);
  }
  get setattrSize(): number {
    return readU64(this.view, this.body(16));
  }
  get setattrValid(): number {
    return this.view.getUint32(this.body(24), true);
  }
  setSetattr(size: number, valid: number): void {
    writeU64(this.view, this.body(16), size);
    this.view.setUint32(this.body(24), valid, true);
    this.view.setUint32(this.body(28), 0, true);
  }
}

const BODY_MINIMUM = new Map<number, number>([
  [OpKind.setattr, SETATTR_BYTES],
  [OpKind.copy, 8],
  [OpKind.setflags, 8],
  [OpKind.create, TIME_BYTES],
  [OpKind.link, TIME_BYTES],
  [OpKind.unlink, TIME_BYTES],
  [OpKind.rename, 2 * TIME_BYTES],
  [OpKind.verifyBlock, 16],
]);

const CARRIES_DATA: ReadonlySet<number> = new Set([OpKind.write, OpKind.mirrorBlock]);

/** What is wrong with the record, or undefined. `available`: bytes that are there at its base. */
export function validateOp(op: OpView, available: number): string | undefined {
  if (available < OP_HEADER_BYTES) return `op is cut: ${available} bytes`;
  if (op.size < OP_HEADER_BYTES || op.size > available) return `op has size ${op.size}`;
  if (op.size > OP_BYTES_MAX) return `op of ${op.size} bytes is over the limit`;
  if (!KIND_NAMES.has(op.kind)) return `op has unknown kind ${op.kind}`;
  const body = op.size - OP_HEADER_BYTES;
  if (CARRIES_DATA.has(op.kind)) {
    return op.length === body
      ? undefined
      : `${opKindName(op.kind)} says ${op.length} bytes, has ${body}`;
  }
  if (body < (BODY_MINIMUM.get(op.kind) ?? 0)) return `${opKindName(op.kind)} is cut`;
  const namesEnd = op.namesAt + op.length1 + op.length2;
  const named =
    op.kind >= OpKind.setxattr && op.kind <= OpKind.rename && op.kind !== OpKind.setflags;
  if (named && namesEnd > body) return `${opKindName(op.kind)} has names beyond its end`;
  const entry = op.kind >= OpKind.create && op.kind <= OpKind.rename;
  if (entry && !validEntryName(op.name)) return `${opKindName(op.kind)} has a forbidden name`;
  if (op.kind === OpKind.rename && !validEntryName(op.name2))
    return "rename has a forbidden new name";
  const isXattr = op.kind === OpKind.setxattr || op.kind === OpKind.removexattr;
  if (isXattr && !validXattrName(op.name)) return `${opKindName(op.kind)} has a forbidden name`;
  if (op.kind === OpKind.create && op.name2.includes(0)) return "create has a forbidden target";
  return undefined;
}

/** Of an extended attribute: not empty, no NUL, at most 255 bytes. */
export function validXattrName(name: Uint8Array): boolean {
  return name.length > 0 && name.length <= 255 && !name.includes(0);
}

/**
 * A name that can stand in a directory: not empty, no `/`, no NUL, not `.` or `..`, at most 255
 * bytes.
 */
export function validEntryName(name: Uint8Array): boolean {
  if (name.length === 0 || name.length > 255) return false;
  if (name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e)))
    return false;
  return !name.includes(0) && !name.includes(0x2f);
}
