/**
 * The FUSE protocol as bytes: opcodes, flags and struct layouts of include/uapi/linux/fuse.h,
 * protocol 7.45. Offsets are relative to the body of a message: behind `struct fuse_in_header` (40
 * bytes) in a request, behind `struct fuse_out_header` (16 bytes) in a reply.
 */
import { writeI64, writeU64 } from "../base/bytes.ts";

export const IN_HEADER_BYTES = 40;
export const OUT_HEADER_BYTES = 16;

export const PROTOCOL_MAJOR = 7;
/** The newest minor version whose structures this code knows. */
export const PROTOCOL_MINOR = 45;
/**
 * The oldest kernel that is served: 7.33 (linux 5.12) has every structure in the form that is read
 * here.
 */
export const PROTOCOL_MINOR_MIN = 33;

export const ROOT_ID = 1;

export const Opcode = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  readlink: 5,
  symlink: 6,
  mknod: 8,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  rename: 12,
  link: 13,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  setxattr: 21,
  getxattr: 22,
  listxattr: 23,
  removexattr: 24,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  fsyncdir: 30,
  access: 34,
  create: 35,
  interrupt: 36,
  destroy: 38,
  ioctl: 39,
  batchForget: 42,
  fallocate: 43,
  readdirplus: 44,
  rename2: 45,
  lseek: 46,
  copyFileRange: 47,
  tmpfile: 51,
  statx: 52,
} as const;

/**
 * Smallest body of a request by opcode; a shorter one is malformed. Names need at least one byte
 * and the NUL.
 */
export const BODY_BYTES_MIN: ReadonlyMap<number, number> = new Map([
  [Opcode.lookup, 2],
  [Opcode.forget, 8],
  [Opcode.getattr, 16],
  [Opcode.setattr, 88],
  [Opcode.symlink, 3],
  [Opcode.mknod, 18],
  [Opcode.mkdir, 10],
  [Opcode.unlink, 2],
  [Opcode.rmdir, 2],
  [Opcode.rename, 12],
  [Opcode.link, 10],
  [Opcode.open, 8],
  [Opcode.read, 40],
  [Opcode.write, 40],
  [Opcode.release, 24],
  [Opcode.fsync, 16],
  [Opcode.setxattr, 18],
  [Opcode.getxattr, 10],
  [Opcode.listxattr, 8],
  [Opcode.removexattr, 2],
  [Opcode.flush, 24],
  [Opcode.init, 16],
  [Opcode.opendir, 8],
  [Opcode.readdir, 40],
  [Opcode.releasedir, 24],
  [Opcode.fsyncdir, 16],
  [Opcode.access, 8],
  [Opcode.create, 18],
  [Opcode.interrupt, 8],
  [Opcode.ioctl, 32],
  [Opcode.batchForget, 8],
  [Opcode.fallocate, 32],
  [Opcode.readdirplus, 40],
  [Opcode.rename2, 20],
  [Opcode.lseek, 24],
  [Opcode.copyFileRange, 56],
  [Opcode.tmpfile, 16],
  [Opcode.statx, 24],
]);

/** Bits of `flags` in INIT. */
export const InitFlag = {
  asyncRead: 1 << 0,
  exportSupport: 1 << 4,
  bigWrites: 1 << 5,
  dontMask: 1 << 6,
  hasIoctlDir: 1 << 11,
  doReaddirplus: 1 << 13,
  readdirplusAuto: 1 << 14,
  asyncDio: 1 << 15,
  noOpenSupport: 1 << 17,
  parallelDirops: 1 << 18,
  posixAcl: 1 << 20,
  maxPages: 1 << 22,
  cacheSymlinks: 1 << 23,
  noOpendirSupport: 1 << 24,
  handleKillprivV2: 1 << 28,
  setxattrExt: 1 << 29,
  initExt: 1 << 30,
} as const;

/** Bits of `flags2` in INIT: the upper half of the 64-bit flags. */
export const InitFlag2 = {
  directIoAllowMmap: 1 << 4,
  passthrough: 1 << 5,
  hasResend: 1 << 7,
} as const;

/** Set in `unique` (bit 63) of a request that the kernel sends a second time. */
export const UNIQUE_RESEND_HIGH = 0x80000000;
export const NOTIFY_RESEND = 7;
export const NOTIFY_INVAL_INODE = 2;
/** Header and `struct fuse_notify_inval_inode_out`. */
export const NOTIFY_INVAL_INODE_BYTES = 40;

export const WRITE_KILL_SUIDGID = 1 << 2;
export const SETXATTR_ACL_KILL_SGID = 1;
export const FOPEN_KEEP_CACHE = 1 << 1;

export const FATTR_MODE = 1;
export const FATTR_UID = 2;
export const FATTR_GID = 4;
export const FATTR_SIZE = 8;
export const FATTR_ATIME = 16;
export const FATTR_MTIME = 32;
export const FATTR_ATIME_NOW = 128;
export const FATTR_MTIME_NOW = 256;
export const FATTR_KILL_SUIDGID = 2048;

/**
 * ioctl on /dev/fuse: the connection takes a reference on a file, `struct fuse_backing_map`;
 * returns an id.
 */
export const FUSE_DEV_IOC_BACKING_OPEN = 0x4010e501;
/** ioctl on /dev/fuse: drops it, u32 id. */
export const FUSE_DEV_IOC_BACKING_CLOSE = 0x4004e502;

export const ATTR_BYTES = 88;
export const ENTRY_OUT_BYTES = 128;
export const ATTR_OUT_BYTES = 104;
export const OPEN_OUT_BYTES = 16;
export const STATFS_OUT_BYTES = 80;
export const INIT_OUT_BYTES = 64;
export const STATX_OUT_BYTES = 288;

/** What `struct fuse_attr` is filled from; platform/statx.ts has this shape. */
export interface AttrSource {
  readonly ino: number;
  readonly size: number;
  readonly blocks: number;
  readonly atimeSec: number;
  readonly atimeNsec: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly ctimeSec: number;
  readonly ctimeNsec: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly blksize: number;
}

/** `struct fuse_attr` at `at`. */
export function writeAttr(view: DataView, at: number, from: AttrSource): void {
  writeU64(view, at, from.ino);
  writeU64(view, at + 8, from.size);
  writeU64(view, at + 16, from.blocks);
  writeI64(view, at + 24, from.atimeSec);
  writeI64(view, at + 32, from.mtimeSec);
  writeI64(view, at + 40, from.ctimeSec);
  view.setUint32(at + 48, from.atimeNsec, true);
  view.setUint32(at + 52, from.mtimeNsec, true);
  view.setUint32(at + 56, from.ctimeNsec, true);
  view.setUint32(at + 60, from.mode, true);
  view.setUint32(at + 64, from.nlink, true);
  view.setUint32(at + 68, from.uid, true);
  view.setUint32(at + 72, from.gid, true);
  view.setUint32(at + 76, from.rdev, true);
  view.setUint32(at + 80, from.blksize, true);
  view.setUint32(at + 84, 0, true);
}

export interface EntryIdentity {
  readonly nodeId: number;
  readonly generation: number;
  /** How long the kernel may keep the name and the attributes. */
  readonly validSeconds: number;
}

/** `struct fuse_entry_out` at `at`. */
export function writeEntry(
  view: DataView,
  at: number,
  identity: EntryIdentity,
  from: AttrSource,
): void {
  writeU64(view, at, identity.nodeId);
  writeU64(view, at + 8, identity.generation);
  writeU64(view, at + 16, identity.validSeconds);
  writeU64(view, at + 24, identity.validSeconds);
  writeU64(view, at + 32, 0);
  writeAttr(view, at + 40, from);
}

/** An entry that says: there is no such name, and the kernel may remember that. */
export function writeNegativeEntry(view: DataView, at: number, validSeconds: number): void {
  for (let i = 0; i < ENTRY_OUT_BYTES; i += 4) view.setUint32(at + i, 0, true);
  writeU64(view, at + 16, validSeconds);
}

/** `struct fuse_attr_out` at `at`. */
export function writeAttrOut(
  view: DataView,
  at: number,
  validSeconds: number,
  from: AttrSource,
): void {
  writeU64(view, at, validSeconds);
  writeU64(view, at + 8, 0);
  writeAttr(view, at + 16, from);
}
