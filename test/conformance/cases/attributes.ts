/** Owners, modes, times, extended attributes, ACLs and inode flags. */
import {
  chmodSync,
  chownSync,
  closeSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import {
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  copyFileRange,
  fallocate,
  fchmodat,
  fchownat,
  ioctl,
  mknodat,
  O_RDWR,
  O_TMPFILE,
  openat,
  S_IFIFO,
  UTIME_NOW,
  UTIME_OMIT,
  utimensat,
} from "../../../src/platform/libc.ts";
import { access, mapFile } from "../../support/more-calls.ts";
import {
  attempt,
  type Cases,
  changedTimes,
  getXattr,
  removeXattr,
  setXattr,
  type Folder,
  named,
  NOBODY,
  status,
  times,
} from "../case.ts";

const FS_IOC_GETFLAGS = 0x80086601;
const FS_IOC_SETFLAGS = 0x40086602;
const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
const IMMUTABLE = 0x10;
const APPEND = 0x20;
const NODUMP = 0x40;
const NOATIME = 0x80;
const USER_MODIFIABLE = 0x380ff;

type Time = readonly [seconds: number, nanoseconds: number];

function setTimes(d: Folder, name: string, atime: Time, mtime: Time, flags = 0): unknown {
  const buffer = Buffer.alloc(32);
  for (const [i, [seconds, nanoseconds]] of [atime, mtime].entries()) {
    buffer.writeBigInt64LE(BigInt(seconds), i * 16);
    buffer.writeBigInt64LE(BigInt(nanoseconds), i * 16 + 8);
  }
  return attempt(() => utimensat(AT_FDCWD, d.c(name), buffer, flags));
}

const chmod = (d: Folder, name: string, mode: number) => attempt(() => chmodSync(d.at(name), mode));
const chown = (d: Folder, name: string, uid: number, gid: number) =>
  attempt(() => fchownat(AT_FDCWD, d.c(name), uid >>> 0, gid >>> 0, 0));

function flags(d: Folder, name: string): unknown {
  const fd = openSync(d.at(name), "r");
  const word = Buffer.alloc(8);
  const error = ioctl(fd, FS_IOC_GETFLAGS, word);
  closeSync(fd);
  return error < 0 ? named(error) : (word.readUInt32LE(0) & USER_MODIFIABLE).toString(16);
}

function setFlags(d: Folder, name: string, value: number): unknown {
  return attempt(() => {
    const fd = openSync(d.at(name), "r");
    const word = Buffer.alloc(8);
    ioctl(fd, FS_IOC_GETFLAGS, word);
    const kept = word.readUInt32LE(0) & ~USER_MODIFIABLE;
    word.writeUInt32LE((kept | value) >>> 0, 0);
    const error = ioctl(fd, FS_IOC_SETFLAGS, word);
    closeSync(fd);
    return error;
  });
}

/** Every way in which a file's data changes, each on a file of its own with both set-ID bits. */
const CHANGES: Readonly<Record<string, (d: Folder, name: string) => unknown>> = {
  write: (d, name) => {
    const fd = openSync(d.at(name), "r+");
    writeSync(fd, "x", 0);
    closeSync(fd);
  },
  append: (d, name) => writeFileSync(d.at(name), "x", { flag: "a" }),
  truncate: (d, name) => truncateSync(d.at(name), 1),
  "open with O_TRUNC": (d, name) => closeSync(openSync(d.at(name), "w")),
  fallocate: (d, name) => {
    const fd = openSync(d.at(name), "r+");
    const result = fallocate(fd, 0, 0, 100);
    closeSync(fd);
    return result;
  },
  "punch hole": (d, name) => {
    const fd = openSync(d.at(name), "r+");
    const result = fallocate(fd, 3, 0, 100);
    closeSync(fd);
    return result;
  },
  copy_file_range: (d, name) => {
    const [from, to] = [openSync(d.at("source"), "r"), openSync(d.at(name), "r+")];
    const result = copyFileRange(from, Buffer.alloc(8), to, Buffer.alloc(8), 5);
    closeSync(from);
    closeSync(to);
    return result;
  },
  mmap: (d, name) => {
    const fd = openSync(d.at(name), "r+");
    const mapping = mapFile(fd, 6);
    mapping.bytes[0] = 1;
    mapping.unmap();
    closeSync(fd);
  },
  "chown -1 -1": (d, name) => chown(d, name, -1, -1),
  utimes: (d, name) => setTimes(d, name, [1, 1], [1, 1]),
};

function changeEach(d: Folder, except?: string): unknown {
  const changes = Object.entries(CHANGES).filter(([what]) => what !== except);
  return changes.flatMap(([what, change]) =>
    [0o6777, 0o6767, 0o2766, 0o4755].map((mode) => {
      const name = `${what.replaceAll(" ", "-")}-${mode.toString(8)}`;
      return [what, attempt(() => change(d, name)), status(d, name)];
    }),
  );
}

function prepareEach(d: Folder, owner: number): void {
  writeFileSync(d.at("source"), "source");
  for (const what of Object.keys(CHANGES)) {
    for (const mode of [0o6777, 0o6767, 0o2766, 0o4755]) {
      const name = `${what.replaceAll(" ", "-")}-${mode.toString(8)}`;
      writeFileSync(d.at(name), "before");
      chownSync(d.at(name), owner, owner);
      chmodSync(d.at(name), mode);
    }
  }
}

export const attributeCases: Cases = {
  "times: to the nanosecond, before 1970 and after 2038": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "x");
      const far: Time[] = [
        [1, 1],
        [1_700_000_000, 999_999_999],
        [-1, 123_456_789],
        [-(2 ** 31), 0],
        [2 ** 31, 5],
        [2 ** 32, 7],
        [2 ** 33 + 1, 7],
        [2 ** 40, 7],
        [-(2 ** 40), 7],
      ];
      return far.map((time) => {
        const result = setTimes(d, "f", time, [time[0], time[1]]);
        const { atime, mtime } = times(d, "f");
        return [result, atime, mtime];
      });
    },
  },
  "times: UTIME_OMIT, UTIME_NOW and wrong ones": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "x");
      const omit: Time = [0, UTIME_OMIT];
      const now: Time = [0, UTIME_NOW];
      setTimes(d, "f", [5, 6], [7, 8]);
      const change = (atime: Time, mtime: Time) =>
        changedTimes(d, ["f"], () => setTimes(d, "f", atime, mtime));
      return [
        change(omit, omit),
        change(omit, [9, 10]),
        change([11, 12], omit),
        [times(d, "f").atime, times(d, "f").mtime],
        change(now, omit),
        change(omit, now),
        change(now, now),
        setTimes(d, "f", [0, 1_000_000_000], [0, 0]),
        setTimes(d, "f", [0, -1], [0, 0]),
        setTimes(d, "none", now, now),
      ];
    },
  },
  "times: of symlinks, directories and special files": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "");
      symlinkSync("f", d.at("link"));
      mkdirSync(d.at("dir"));
      mknodat(AT_FDCWD, d.c("fifo"), S_IFIFO | 0o600, 0);
      const results = [
        setTimes(d, "link", [1, 2], [3, 4], AT_SYMLINK_NOFOLLOW),
        setTimes(d, "link", [5, 6], [7, 8]),
        setTimes(d, "dir", [9, 10], [11, 12]),
        setTimes(d, "fifo", [13, 14], [15, 16]),
      ];
      // Following the link has read it.
      const after = ["link", "f", "dir", "fifo"].map((name) => {
        const { atime, mtime } = times(d, name);
        return [name === "link" ? "-" : atime, mtime];
      });
      return [results, after];
    },
  },
  "ctime: what changes it": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "x");
      const changed = (call: () => unknown) => changedTimes(d, ["f"], call);
      return [
        changed(() => chmod(d, "f", 0o600)),
        changed(() => chmod(d, "f", 0o600)),
        changed(() => chown(d, "f", 1, 2)),
        changed(() => chown(d, "f", 1, -1)),
        changed(() => linkSync(d.at("f"), d.at("g"))),
        changed(() => unlinkSync(d.at("g"))),
        changed(() => renameSync(d.at("f"), d.at("h")) ?? renameSync(d.at("h"), d.at("f"))),
        changed(() => setXattr(d, "f", "user.x", "1")),
        changed(() => removeXattr(d, "f", "user.x")),
        changed(() => setFlags(d, "f", NODUMP)),
        changed(() => readFileSync(d.at("f")).length > 9),
      ];
    },
  },
  "chmod: every bit": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "");
      mkdirSync(d.at("dir"));
      symlinkSync("f", d.at("link"));
      const modes = [0, 0o7777, 0o1000, 0o2000, 0o4000, 0o644, 0o100644];
      return [
        ...modes.map((mode) => [
          chmod(d, "f", mode),
          chmod(d, "dir", mode),
          status(d, "f"),
          status(d, "dir"),
        ]),
        attempt(() => fchmodat(AT_FDCWD, d.c("link"), 0o600)),
        [status(d, "f"), status(d, "link")],
      ];
    },
  },
  "chown: set-ID bits, parts and links": {
    asRoot: (d) =>
      [0o6755, 0o6745, 0o2755, 0o2745, 0o1777].flatMap((mode) => {
        const name = `f${mode}`;
        writeFileSync(d.at(name), "");
        symlinkSync(name, d.at(`l${mode}`));
        mkdirSync(d.at(`d${mode}`));
        chmodSync(d.at(name), mode);
        chmodSync(d.at(`d${mode}`), mode);
        const results = [
          [1, 2],
          [3, -1],
          [-1, 4],
          [0xfffffffe, 0xfffffffe],
        ].map(([uid = 0, gid = 0]) => {
          const result = [chown(d, name, uid, gid), chown(d, `d${mode}`, uid, gid)];
          const after = [status(d, name), status(d, `d${mode}`)];
          chmodSync(d.at(name), mode);
          return [result, after];
        });
        lchownSync(d.at(`l${mode}`), 7, 8);
        return [...results, status(d, `l${mode}`), status(d, name)];
      }),
  },
  "set-ID bits: changes by root": {
    asRoot: (d) => {
      prepareEach(d, 0);
      return changeEach(d);
    },
  },
  "set-ID bits: changes by the owner": {
    asRoot: (d) => prepareEach(d, NOBODY),
    asNobody: (d) => changeEach(d),
  },
  "set-ID bits: changes by others": {
    asRoot: (d) => prepareEach(d, 1000),
    asNobody: (d) => changeEach(d, "chown -1 -1"),
  },
  "chown of nothing by others": {
    asRoot: (d) => prepareEach(d, 1000),
    asNobody: (d) => [chown(d, "utimes-4755", -1, -1), status(d, "utimes-4755")],
  },
  "chown of nothing by others who may write": {
    asRoot: (d) => prepareEach(d, 1000),
    asNobody: (d) => [chown(d, "utimes-6777", -1, -1), status(d, "utimes-6777")],
  },
  "security.capability goes with a write": {
    asRoot: (d) => {
      const capability = Buffer.from("0100000200000000000000000000000000000000", "hex");
      const { mmap: _, ...changes } = CHANGES;
      return Object.entries(changes).map(([what, change]) => {
        writeFileSync(d.at("source"), "source");
        const name = what.replaceAll(" ", "-");
        writeFileSync(d.at(name), "before");
        const result = setXattr(d, name, "security.capability", capability);
        change(d, name);
        return [what, result, getXattr(d, name, "security.capability")];
      });
    },
  },
  "security.capability stays when the file is written through a map": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "before");
      const capability = Buffer.from("0100000200000000000000000000000000000000", "hex");
      setXattr(d, "f", "security.capability", capability);
      CHANGES.mmap?.(d, "f");
      return getXattr(d, "f", "security.capability");
    },
  },
  "set-group-ID and sticky directories": {
    asRoot: (d) => {
      for (const [name, mode] of [
        ["setgid", 0o2777],
        ["sticky", 0o1777],
      ] as const) {
        mkdirSync(d.at(name));
        chmodSync(d.at(name), mode);
      }
      chownSync(d.at("setgid"), 0, 1234);
      writeFileSync(d.at("setgid/by-root"), "");
      mkdirSync(d.at("setgid/dir-by-root"));
      writeFileSync(d.at("sticky/roots"), "");
      chmodSync(d.at("sticky/roots"), 0o666);
      mkdirSync(d.at("sticky/dir"));
      return ["setgid/by-root", "setgid/dir-by-root"].map((name) => status(d, name));
    },
    asNobody: (d) => {
      writeFileSync(d.at("setgid/mine"), "");
      mkdirSync(d.at("setgid/my-dir"));
      symlinkSync("x", d.at("setgid/my-link"));
      mknodat(AT_FDCWD, d.c("setgid/my-fifo"), S_IFIFO | 0o600, 0);
      closeSync(openSync(d.at("setgid/suid"), "w", 0o6775));
      writeFileSync(d.at("sticky/mine"), "");
      return [
        ["mine", "my-dir", "my-link", "my-fifo", "suid"].map((name) => status(d, `setgid/${name}`)),
        chmod(d, "setgid/mine", 0o2777),
        status(d, "setgid/mine"),
        attempt(() => unlinkSync(d.at("sticky/roots"))),
        attempt(() => renameSync(d.at("sticky/roots"), d.at("sticky/x"))),
        attempt(() => renameSync(d.at("sticky/mine"), d.at("sticky/roots"))),
        attempt(() => renameSync(d.at("sticky/mine"), d.at("sticky/still-mine"))),
        attempt(() => unlinkSync(d.at("sticky/still-mine"))),
      ];
    },
  },
  "permissions: what nobody may do with root's files": {
    asRoot: (d) => {
      for (const mode of [0o000, 0o600, 0o644, 0o666, 0o711, 0o222]) {
        writeFileSync(d.at(`f${mode.toString(8)}`), "x");
        chmodSync(d.at(`f${mode.toString(8)}`), mode);
        mkdirSync(d.at(`d${mode.toString(8)}`));
        writeFileSync(d.at(`d${mode.toString(8)}/in`), "x");
        chmodSync(d.at(`d${mode.toString(8)}`), mode);
      }
    },
    asNobody: (d) =>
      [0o000, 0o600, 0o644, 0o666, 0o711, 0o222].flatMap((mode) => {
        const [f, dir] = [`f${mode.toString(8)}`, `d${mode.toString(8)}`];
        return [
          [0, 1, 2, 4].map((wanted) => attempt(() => access(d.c(f), wanted))),
          attempt(() => readFileSync(d.at(f), "utf8")),
          attempt(() => writeFileSync(d.at(f), "x", { flag: "r+" })),
          attempt(() => truncateSync(d.at(f), 1)),
          chmod(d, f, 0o777),
          chown(d, f, NOBODY, NOBODY),
          chown(d, f, -1, -1),
          setTimes(d, f, [0, UTIME_NOW], [0, UTIME_NOW]),
          setTimes(d, f, [1, 0], [1, 0]),
          setXattr(d, f, "user.x", "1"),
          setXattr(d, f, "trusted.x", "1"),
          attempt(() => linkSync(d.at(f), d.at(`${f}-link`))),
          attempt(() => readFileSync(d.at(`${dir}/in`), "utf8")),
          attempt(() => writeFileSync(d.at(`${dir}/new`), "")),
          attempt(() => unlinkSync(d.at(`${dir}/in`))),
          attempt(() => openat(AT_FDCWD, d.c(dir), O_TMPFILE | O_RDWR, 0o600) >= 0),
        ];
      }),
  },
  "inode flags: set, kept and obeyed": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "x");
      mkdirSync(d.at("dir"));
      const results: unknown[] = [
        flags(d, "f"),
        setFlags(d, "f", NODUMP | NOATIME),
        flags(d, "f"),
        setFlags(d, "dir", NODUMP),
        flags(d, "dir"),
        attempt(() => mkdirSync(d.at("dir/born"))),
        attempt(() => writeFileSync(d.at("dir/born/f"), "")),
        ...["dir/born", "dir/born/f"].map((name) => flags(d, name)),
        setFlags(d, "f", IMMUTABLE),
        attempt(() => unlinkSync(d.at("f"))),
        attempt(() => renameSync(d.at("f"), d.at("g"))),
        attempt(() => linkSync(d.at("f"), d.at("g"))),
        chmod(d, "f", 0o600),
        attempt(() => truncateSync(d.at("f"), 0)),
        setXattr(d, "f", "user.x", "1"),
        setFlags(d, "f", APPEND),
        attempt(() => writeFileSync(d.at("f"), "y", { flag: "a" })),
        attempt(() => unlinkSync(d.at("f"))),
        readFileSync(d.at("f"), "utf8"),
        setFlags(d, "f", 0),
        flags(d, "f"),
        setFlags(d, "dir", APPEND),
        attempt(() => writeFileSync(d.at("dir/new"), "")),
        attempt(() => unlinkSync(d.at("dir/new"))),
        setFlags(d, "dir", 0),
      ];
      return results;
    },
    asNobody: (d) => {
      writeFileSync(d.at("mine"), "");
      return [
        setFlags(d, "mine", NODUMP),
        setFlags(d, "mine", IMMUTABLE),
        setFlags(d, "f", NODUMP),
        flags(d, "mine"),
      ];
    },
  },
  "inode flags: an append-only file is written at its end only": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "0123456789");
      setFlags(d, "f", APPEND);
      const writes = attempt(() => {
        const fd = openSync(d.at("f"), "r+");
        try {
          return writeSync(fd, "lost", 0);
        } finally {
          closeSync(fd);
        }
      });
      const content = readFileSync(d.at("f"), "utf8");
      setFlags(d, "f", 0);
      return [writes, content];
    },
  },
  "inode flags: an immutable file is not opened for writing": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "x");
      setFlags(d, "f", IMMUTABLE);
      const opened = attempt(() => closeSync(openSync(d.at("f"), "r+")));
      setFlags(d, "f", 0);
      return opened;
    },
  },
  "project ids": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "");
      const fd = openSync(d.at("f"), "r+");
      const before = Buffer.alloc(28);
      const results = [attempt(() => ioctl(fd, FS_IOC_FSGETXATTR, before))];
      before.writeUInt32LE(4711, 12);
      results.push(attempt(() => ioctl(fd, FS_IOC_FSSETXATTR, before)));
      const after = Buffer.alloc(28);
      results.push(
        attempt(() => ioctl(fd, FS_IOC_FSGETXATTR, after)),
        after.readUInt32LE(12),
      );
      closeSync(fd);
      return results;
    },
  },
  "an ioctl that only ext4 knows": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "x");
      const fd = openSync(d.at("f"), "r+");
      const FS_IOC_FIEMAP = 0xc020660b;
      const map = Buffer.alloc(32 + 56);
      map.writeBigUInt64LE(2n ** 63n, 8);
      map.writeUInt32LE(1, 24);
      const result = attempt(() => ioctl(fd, FS_IOC_FIEMAP, map));
      closeSync(fd);
      return result;
    },
  },
};
