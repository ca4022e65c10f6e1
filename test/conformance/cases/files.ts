/** Opening, reading and writing regular files, and files without a name. */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fsyncSync,
  ftruncateSync,
  futimesSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_SYMLINK_FOLLOW,
  cString,
  fcntl,
  F_GETFL,
  fsetxattr,
  linkat,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_RDWR,
  O_TMPFILE,
  openat,
  pread,
  pwrite,
} from "../../../src/platform/libc.ts";
import { mapFile, syncFileRange, umask } from "../../support/more-calls.ts";
import {
  attempt,
  type Cases,
  changedTimes,
  digest,
  fdStatus,
  type Folder,
  status,
} from "../case.ts";

const { O_APPEND, O_CREAT, O_DIRECT, O_DSYNC, O_RDONLY, O_SYNC, O_TRUNC, O_WRONLY } = constants;

function withMask<T>(mask: number, call: () => T): T {
  const before = umask(mask);
  try {
    return call();
  } finally {
    umask(before);
  }
}

const text = (d: Folder, name: string) => attempt(() => readFileSync(d.at(name), "utf8"));

/** Direct I/O wants memory that begins with a page. */
function direct(d: Folder): { fd: number; memory: Uint8Array; close: () => void } {
  const fd = openSync(d.at("f"), O_RDWR | O_CREAT | O_DIRECT);
  truncateSync(d.at("f"), 16_384);
  const backing = openSync(d.at("memory"), O_RDWR | O_CREAT | O_TRUNC);
  truncateSync(d.at("memory"), 65_536);
  const mapping = mapFile(backing, 65_536);
  mapping.bytes.fill(0x61);
  const close = () => {
    mapping.unmap();
    closeSync(backing);
    closeSync(fd);
  };
  return { fd, memory: mapping.bytes, close };
}

export const fileCases: Cases = {
  "create: mode and umask": {
    asRoot: (d) =>
      [0o000, 0o022, 0o077, 0o777].map((mask) =>
        withMask(mask, () => {
          closeSync(openSync(d.at(`f${mask}`), "w", 0o6777));
          mkdirSync(d.at(`d${mask}`), 0o1777);
          return [status(d, `f${mask}`), status(d, `d${mask}`)];
        }),
      ),
  },
  "open: flags and what is there": {
    asRoot: (d) => {
      writeFileSync(d.at("file"), "x");
      mkdirSync(d.at("dir"));
      symlinkSync("file", d.at("link"));
      symlinkSync("nothing", d.at("dangling"));
      const open = (name: string, flags: number) =>
        attempt(() => closeSync(openSync(d.at(name), flags, 0o644)));
      return [
        open("file", O_CREAT | O_EXCL | O_WRONLY),
        open("link", O_CREAT | O_EXCL | O_WRONLY),
        open("dangling", O_CREAT | O_EXCL | O_WRONLY),
        open("dir", O_CREAT | O_WRONLY),
        open("dir", O_WRONLY),
        open("dir", O_RDONLY),
        open("file", O_DIRECTORY | O_RDONLY),
        open("link", O_NOFOLLOW | O_RDONLY),
        open("nothing", O_RDONLY),
        open("dangling", O_CREAT | O_WRONLY),
        open("nothing/", O_CREAT | O_WRONLY),
        open("file/", O_RDONLY),
        open("file/x", O_RDONLY),
        open("link", O_TRUNC | O_WRONLY),
        status(d, "file"),
        status(d, "nothing"),
      ];
    },
  },
  "unlink while open": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "before");
      const fd = openSync(d.at("f"), "r+");
      unlinkSync(d.at("f"));
      const results = [
        attempt(() => writeSync(fd, "after", 0)),
        attempt(() => ftruncateSync(fd, 8)),
        attempt(() => fchmodSync(fd, 0o4711)),
        attempt(() => fchownSync(fd, 3, 4)),
        attempt(() => futimesSync(fd, 1, 2)),
        attempt(() => fsetxattr(fd, cString("user.x"), Buffer.from("1"), 1, 0)),
        attempt(() => fsyncSync(fd)),
        fdStatus(fd),
        attempt(() => readFileSync(d.at("f"))),
      ];
      const buffer = Buffer.alloc(20);
      results.push(buffer.subarray(0, readSync(fd, buffer, 0, 20, 0)).toString());
      // Another file of the same name is another file.
      writeFileSync(d.at("f"), "other");
      results.push(readSync(fd, buffer, 0, 20, 0), text(d, "f"));
      closeSync(fd);
      return results;
    },
  },
  "rename over an open file": {
    asRoot: (d) => {
      writeFileSync(d.at("old"), "old");
      writeFileSync(d.at("new"), "new");
      const fd = openSync(d.at("old"), "r+");
      renameSync(d.at("new"), d.at("old"));
      const buffer = Buffer.alloc(10);
      const written = writeSync(fd, "OLD", 0);
      const got = buffer.subarray(0, readSync(fd, buffer, 0, 10, 0)).toString();
      const results = [written, got, fdStatus(fd), text(d, "old")];
      closeSync(fd);
      return results;
    },
  },
  "rmdir of an open directory": {
    asRoot: (d) => {
      mkdirSync(d.at("dir"));
      const fd = openSync(d.at("dir"), "r");
      rmdirSync(d.at("dir"));
      const results = [
        fdStatus(fd),
        attempt(() => openat(fd, cString("new"), O_CREAT | O_RDWR, 0o644)),
        attempt(() => fchmodSync(fd, 0o700)),
      ];
      closeSync(fd);
      return results;
    },
  },
  "O_TMPFILE: made, written, linked": {
    asRoot: (d) =>
      withMask(0o027, () => {
        const fd = openat(AT_FDCWD, d.c(), O_TMPFILE | O_RDWR, 0o666);
        const results: unknown[] = [fdStatus(fd), attempt(() => writeSync(fd, "nameless"))];
        const link = cString(`/proc/self/fd/${fd}`);
        const named = d.c("named");
        results.push(attempt(() => linkat(AT_FDCWD, link, AT_FDCWD, named, AT_SYMLINK_FOLLOW)));
        results.push(fdStatus(fd), text(d, "named"));
        results.push(attempt(() => linkat(fd, cString(""), AT_FDCWD, d.c("two"), AT_EMPTY_PATH)));
        results.push(
          attempt(() => writeSync(fd, "!")),
          text(d, "two"),
          status(d, "named"),
        );
        closeSync(fd);
        return results;
      }),
  },
  "O_TMPFILE with O_EXCL is never linked": {
    asRoot: (d) => {
      const fd = openat(AT_FDCWD, d.c(), O_TMPFILE | O_RDWR | O_EXCL, 0o600);
      const link = cString(`/proc/self/fd/${fd}`);
      const results = [
        fdStatus(fd),
        attempt(() => linkat(AT_FDCWD, link, AT_FDCWD, d.c("named"), AT_SYMLINK_FOLLOW)),
        attempt(() => openat(AT_FDCWD, d.c(), O_TMPFILE | O_RDONLY, 0o600)),
      ];
      closeSync(fd);
      return results;
    },
  },
  "write: offsets, ends and limits": {
    asRoot: (d) => {
      const fd = openSync(d.at("f"), O_RDWR | O_CREAT);
      const bytes = Buffer.from("0123456789");
      const results: unknown[] = [0, 5, 4095, 4096, 100_000, 2 ** 32 + 1, 2 ** 40].map((offset) =>
        attempt(() => pwrite(fd, bytes, 10, offset)),
      );
      for (const offset of [-1, 2 ** 44, 2 ** 62, Number.MAX_SAFE_INTEGER]) {
        results.push(attempt(() => pwrite(fd, bytes, 10, offset)));
      }
      results.push(
        attempt(() => pwrite(fd, bytes, 0, 2 ** 20)),
        fdStatus(fd),
      );
      const back = Buffer.alloc(10);
      for (const offset of [0, 3, 4093, 2 ** 32 - 1, 2 ** 40 + 5, 2 ** 41]) {
        results.push([attempt(() => pread(fd, back, 10, offset)), back.toString("hex")]);
      }
      closeSync(fd);
      truncateSync(d.at("f"), 10);
      return results;
    },
  },
  "read and write against the mode of the descriptor": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "x");
      const [r, w] = [openSync(d.at("f"), "r"), openSync(d.at("f"), O_WRONLY)];
      const dir = openSync(d.at(), "r");
      const byte = Buffer.alloc(1);
      const results = [
        attempt(() => pwrite(r, byte, 1, 0)),
        attempt(() => pread(w, byte, 1, 0)),
        attempt(() => pread(dir, byte, 1, 0)),
        attempt(() => ftruncateSync(r, 0)),
        attempt(() => ftruncateSync(w, 5)),
        status(d, "f"),
      ];
      for (const fd of [r, w, dir]) closeSync(fd);
      return results;
    },
  },
  "truncate: both ways, and its limits": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), Buffer.alloc(10_000, 1));
      mkdirSync(d.at("dir"));
      const content = () => digest(readFileSync(d.at("f")));
      const results: unknown[] = [];
      for (const size of [5000, 20_000, 4096, 4095, 4097, 0, 3]) {
        results.push(
          attempt(() => truncateSync(d.at("f"), size)),
          content(),
        );
      }
      const fd = openSync(d.at("f"), "r+");
      for (const size of [-1, 2 ** 45, 2 ** 62])
        results.push(attempt(() => ftruncateSync(fd, size)));
      closeSync(fd);
      results.push(attempt(() => truncateSync(d.at("dir"), 0)));
      results.push(
        attempt(() => truncateSync(d.at("nothing"), 0)),
        status(d, "f"),
      );
      return results;
    },
  },
  "O_APPEND: several descriptors": {
    asRoot: (d) => {
      const fds = [1, 2, 3].map(() => openSync(d.at("log"), O_WRONLY | O_APPEND | O_CREAT));
      for (let line = 0; line < 300; line++) writeSync(fds[line % 3] as number, `line ${line}\n`);
      const written = pwrite(fds[0] as number, Buffer.from("end\n"), 4, 0);
      for (const fd of fds) closeSync(fd);
      return [written, digest(readFileSync(d.at("log")))];
    },
  },
  "O_DIRECT: aligned": {
    asRoot: (d) => {
      const { fd, memory, close } = direct(d);
      const results = [0, 8192, 4096, 1 << 20].map((at) => [
        attempt(() => pwrite(fd, memory.subarray(0, 8192), 8192, at)),
        attempt(() => pread(fd, memory.subarray(16_384), 4096, at)),
        digest(memory),
      ]);
      results.push([attempt(() => pread(fd, memory, 4096, 2 << 20)), fdStatus(fd)]);
      close();
      return [...results, digest(readFileSync(d.at("f")))];
    },
  },
  "O_DIRECT: not aligned": {
    asRoot: (d) => {
      const { fd, memory, close } = direct(d);
      const results = [
        attempt(() => pwrite(fd, memory, 100, 0)),
        attempt(() => pwrite(fd, memory, 4096, 7)),
        attempt(() => pwrite(fd, memory.subarray(1), 4096, 0)),
      ];
      close();
      return results;
    },
  },
  "O_SYNC and O_DSYNC": {
    asRoot: (d) =>
      [O_SYNC, O_DSYNC, O_SYNC | O_APPEND].map((flag) => {
        const fd = openSync(d.at(`f${flag}`), O_RDWR | O_CREAT | flag);
        const results = [
          attempt(() => writeSync(fd, "synced")),
          (fcntl(fd, F_GETFL, 0) & flag) === flag,
          attempt(() => syncFileRange(fd, 0, 6)),
          text(d, `f${flag}`),
        ];
        closeSync(fd);
        return results;
      }),
  },
  "mmap: shared between maps and descriptors": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), Buffer.alloc(10_000, 0x61));
      const fd = openSync(d.at("f"), "r+");
      const [a, b] = [mapFile(fd, 12_288), mapFile(fd, 12_288)];
      a.bytes[100] = 0x62;
      a.bytes[9_999] = 0x63;
      const results: unknown[] = [b.bytes[100], b.bytes[9_999]];
      pwrite(fd, Buffer.from("zz"), 2, 200);
      results.push(b.bytes[200], a.bytes[201]);
      // Beyond the end of the file, within its last page: not part of it.
      a.bytes[10_001] = 0x64;
      a.unmap();
      b.unmap();
      results.push(digest(readFileSync(d.at("f"))), fdStatus(fd));
      closeSync(fd);
      return results;
    },
  },
  "mmap: written after the descriptor is closed and the name is gone": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), Buffer.alloc(8192, 1));
      const fd = openSync(d.at("f"), "r+");
      const mapping = mapFile(fd, 8192);
      const other = openSync(d.at("f"), "r");
      closeSync(fd);
      unlinkSync(d.at("f"));
      mapping.bytes.fill(2, 0, 5000);
      mapping.unmap();
      const back = Buffer.alloc(8192);
      readSync(other, back, 0, 8192, 0);
      closeSync(other);
      return digest(back);
    },
  },
  "write and read change times": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "x");
      return [
        changedTimes(d, ["f", ""], () => writeFileSync(d.at("f"), "y", { flag: "r+" })),
        changedTimes(d, ["f", ""], () => truncateSync(d.at("f"), 10)),
        changedTimes(d, ["f", ""], () => truncateSync(d.at("f"), 10)),
        changedTimes(d, ["f", ""], () => closeSync(openSync(d.at("f"), "w"))),
      ];
    },
  },
};
