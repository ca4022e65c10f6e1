/** One of the folders on which operations are done side by side: bare, or protected. */
import {
  chmodSync,
  closeSync,
  fchmodSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { ENXIO } from "../../src/platform/errno.ts";
import {
  AT_FDCWD,
  AT_SYMLINK_FOLLOW,
  AT_SYMLINK_NOFOLLOW,
  copyFileRange,
  cString,
  fallocate,
  fchownat,
  ioctl,
  linkat,
  listxattr,
  lseek,
  mknodat,
  O_RDWR,
  O_TMPFILE,
  openat,
  pread,
  pwrite,
  renameat2,
  UTIME_NOW,
  UTIME_OMIT,
  utimensat,
} from "../../src/platform/libc.ts";
import {
  attempt,
  digest,
  fdStatus,
  Folder,
  removeXattr,
  setXattr,
  status,
} from "../conformance/case.ts";
import { mapFile } from "../support/more-calls.ts";
import type { Operation } from "./operation.ts";

const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;

/** A fifo without a peer would block for ever. */
const O_NONBLOCK = 0o4000;
const O_WRONLY_APPEND_CREAT = 0o2101;

type Value = number | string;
type Doer = (side: Side, values: readonly Value[]) => unknown;

const num = (values: readonly Value[], at: number) => values[at] as number;
const bytes = (value: Value | undefined) => Buffer.from(value as string, "latin1");

/** Bytes that tell where they were written. */
function pattern(length: number, seed: number): Buffer {
  const buffer = Buffer.alloc(length);
  for (let i = 0; i < length; i++) buffer[i] = seed + (i >> 6) + i * 7;
  return buffer;
}

function offsetOf(value: number): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigInt64LE(BigInt(value));
  return buffer;
}

const DOERS: Readonly<Record<string, Doer>> = {
  open: (s, [slot, name, flags, mode]) => {
    s.close(slot as number);
    const fd = openSync(s.at(name), (flags as number) | O_NONBLOCK, mode as number);
    if (fstatSync(fd).isFile()) s.handles.set(slot as number, fd);
    // Of other nodes without a name it is known that they differ (conformance).
    else closeSync(fd);
  },
  close: (s, [slot]) => s.close(slot as number),
  tmpfile: (s, [slot, name, mode]) => {
    s.close(slot as number);
    const fd = openat(AT_FDCWD, s.c(name), O_TMPFILE | O_RDWR, mode as number);
    if (fd < 0) return fd;
    s.handles.set(slot as number, fd);
    return undefined;
  },
  "link-handle": (s, [slot, name]) =>
    linkat(
      AT_FDCWD,
      cString(`/proc/self/fd/${s.fd(slot)}`),
      AT_FDCWD,
      s.c(name),
      AT_SYMLINK_FOLLOW,
    ),
  write: (s, v) => pwrite(s.fd(v[0]), pattern(num(v, 2), num(v, 3)), num(v, 2), num(v, 1)),
  read: (s, v) => {
    const buffer = Buffer.alloc(num(v, 2) + 1);
    const got = pread(s.fd(v[0]), buffer, num(v, 2), num(v, 1));
    return got < 0 ? got : digest(buffer.subarray(0, got));
  },
  append: (s, [name, length, seed]) => {
    const fd = openSync(s.at(name), O_WRONLY_APPEND_CREAT | O_NONBLOCK);
    try {
      return writeSync(fd, pattern(length as number, seed as number));
    } finally {
      closeSync(fd);
    }
  },
  "truncate-handle": (s, v) => ftruncateSync(s.fd(v[0]), num(v, 1)),
  truncate: (s, v) => truncateSync(s.at(v[0]), num(v, 1)),
  fallocate: (s, v) => fallocate(s.fd(v[0]), num(v, 1), num(v, 2), num(v, 3)),
  copy: (s, v) => {
    const [from, to] = [offsetOf(num(v, 1)), offsetOf(num(v, 3))];
    return copyFileRange(s.fd(v[0]), from, s.fd(v[2]), to, num(v, 4));
  },
  "map-write": (s, v) => {
    const fd = s.fd(v[0]);
    const { size } = fstatSync(fd);
    const end = Math.min(size, num(v, 1) + num(v, 2));
    // Mapping needs a descriptor that reads and writes; mmap of others would end the process.
    if (end <= num(v, 1) || !s.isReadWrite(fd)) return "nothing to map";
    const mapping = mapFile(fd, size);
    mapping.bytes.fill(num(v, 3), num(v, 1), end);
    mapping.unmap();
    return end;
  },
  seek: (s, v) => {
    const found = lseek(s.fd(v[0]), num(v, 1), num(v, 2));
    // Where a map was written, larger pieces become data on the mount than in the bare cache.
    return found >= num(v, 1) || found === -ENXIO ? "a position" : found;
  },
  sync: (s, v) => (v[1] === 0 ? fsyncSync : fdatasyncSync)(s.fd(v[0])),
  "status-handle": (s, [slot]) => fdStatus(s.fd(slot)),
  "chmod-handle": (s, v) => fchmodSync(s.fd(v[0]), num(v, 1)),
  mkdir: (s, v) => mkdirSync(s.at(v[0]), num(v, 1)),
  rmdir: (s, [name]) => rmdirSync(s.at(name)),
  unlink: (s, [name]) => unlinkSync(s.at(name)),
  rename: (s, [from, to, flags]) =>
    renameat2(AT_FDCWD, s.c(from), AT_FDCWD, s.c(to), flags as number),
  link: (s, [from, to]) => linkSync(s.at(from), s.at(to)),
  symlink: (s, [target, name]) => symlinkSync(target as string, s.at(name)),
  mknod: (s, [name, type, device]) =>
    mknodat(AT_FDCWD, s.c(name), ((type as number) << 9) | 0o644, device as number),
  chmod: (s, v) => chmodSync(s.at(v[0]), num(v, 1)),
  chown: (s, [name, uid, gid]) =>
    fchownat(
      AT_FDCWD,
      s.c(name),
      (uid as number) >>> 0,
      (gid as number) >>> 0,
      AT_SYMLINK_NOFOLLOW,
    ),
  times: (s, [name, seconds, nanoseconds, which]) => {
    const nsec = [nanoseconds as number, UTIME_OMIT, UTIME_NOW];
    const times = Buffer.concat([
      offsetOf(seconds as number),
      offsetOf(nsec[which as number] as number),
      offsetOf(seconds as number),
      offsetOf(nanoseconds as number),
    ]);
    return utimensat(AT_FDCWD, s.c(name), times, AT_SYMLINK_NOFOLLOW);
  },
  "xattr-set": (s, [name, key, length, flags]) =>
    setXattr(s.folder, s.raw(name), key as string, pattern(length as number, 1), flags as number),
  "xattr-remove": (s, [name, key]) => removeXattr(s.folder, s.raw(name), key as string),
  "xattr-list": (s, [name]) => {
    const buffer = Buffer.alloc(4096);
    const got = listxattr(s.c(name), buffer, 4096);
    return got < 0 ? got : buffer.toString("latin1", 0, got).split("\0").sort().join();
  },
  acl: (s, [name, kind, permissions]) => {
    const key = kind === 0 ? "system.posix_acl_access" : "system.posix_acl_default";
    return setXattr(s.folder, s.raw(name), key, acl(permissions as number));
  },
  flags: (s, [name, flags]) => {
    const fd = openSync(s.at(name), O_NONBLOCK);
    try {
      const word = Buffer.alloc(8);
      const error = ioctl(fd, FS_IOC_GETFLAGS, word);
      if (error < 0) return error;
      word.writeUInt32LE(((word.readUInt32LE(0) & ~0xff) | (flags as number)) >>> 0, 0);
      return ioctl(fd, FS_IOC_SETFLAGS, word);
    } finally {
      closeSync(fd);
    }
  },
  status: (s, [name]) => status(s.folder, s.raw(name)),
  content: (s, [name]) => {
    const fd = openSync(s.at(name), O_NONBLOCK);
    try {
      return digest(readFileSync(fd));
    } finally {
      closeSync(fd);
    }
  },
  list: (s, [name]) =>
    readdirSync(s.at(name), { encoding: "buffer" })
      .map((each) => each.toString("latin1"))
      .sort()
      .join(),
};

/** Owner, one named user, group, mask and others. */
function acl(permissions: number): Buffer {
  const entries = [
    [1, 7, 0xffffffff],
    [2, permissions, 1000],
    [4, 5, 0xffffffff],
    [16, 7, 0xffffffff],
    [32, permissions & 5, 0xffffffff],
  ] as const;
  const buffer = Buffer.alloc(4 + entries.length * 8);
  buffer.writeUInt32LE(2, 0);
  for (const [i, [tag, granted, id]] of entries.entries()) {
    buffer.writeUInt16LE(tag, 4 + i * 8);
    buffer.writeUInt16LE(granted, 6 + i * 8);
    buffer.writeUInt32LE(id, 8 + i * 8);
  }
  return buffer;
}

export class Side {
  readonly folder: Folder;
  readonly handles = new Map<number, number>();

  constructor(path: string) {
    mkdirSync(path);
    this.folder = new Folder(path);
  }

  do([kind, ...values]: Operation): unknown {
    const doer = DOERS[kind];
    if (doer === undefined) throw new Error(`there is no operation ${kind}`);
    return attempt(() => doer(this, values));
  }

  raw(name: Value | undefined): Buffer {
    return bytes(name);
  }
  at(name: Value | undefined): Buffer {
    return this.folder.at(bytes(name));
  }
  c(name: Value | undefined): Uint8Array {
    return this.folder.c(bytes(name));
  }
  /** A slot without a handle has a descriptor that is never open. */
  fd(slot: Value | undefined): number {
    return this.handles.get(slot as number) ?? 1_000_000;
  }
  isReadWrite(fd: number): boolean {
    const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"));
    return (Number.parseInt(flags?.[1] ?? "0", 8) & 3) === 2;
  }
  close(slot: number): void {
    const fd = this.handles.get(slot);
    if (fd !== undefined) closeSync(fd);
    this.handles.delete(slot);
  }
  closeAll(): void {
    for (const slot of [...this.handles.keys()]) this.close(slot);
  }
}
