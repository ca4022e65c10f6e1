/** Names, links, directories and everything that moves them. */
import {
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import {
  AT_FDCWD,
  AT_SYMLINK_FOLLOW,
  close,
  cString,
  getdents64,
  linkat,
  mkdirat,
  mknodat,
  O_CREAT,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  openat,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  renameat2,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFREG,
  S_IFSOCK,
  seekDirectory,
} from "../../../src/platform/libc.ts";
import {
  attempt,
  type Cases,
  changedTimes,
  digest,
  fdStatus,
  type Folder,
  status,
} from "../case.ts";

const list = (d: Folder, name = "") =>
  readdirSync(d.at(name), { encoding: "buffer" })
    .map((each) => each.toString("latin1"))
    .sort();

const rename = (d: Folder, from: string, to: string, flags = 0) =>
  attempt(() => renameat2(AT_FDCWD, d.c(from), AT_FDCWD, d.c(to), flags));

/** Two files, a directory with something in it, an empty one, and a symlink. */
function furnish(d: Folder): void {
  writeFileSync(d.at("a"), "a");
  writeFileSync(d.at("b"), "b");
  mkdirSync(d.at("full/inside"), { recursive: true });
  mkdirSync(d.at("empty"));
  symlinkSync("a", d.at("link"));
}

const FURNITURE = ["a", "b", "full", "empty", "link", "none", "full/inside/x", "a/x"];

function renameMatrix(flags: number): { asRoot: (d: Folder) => unknown } {
  return {
    asRoot: (d) =>
      FURNITURE.flatMap((from, row) =>
        FURNITURE.map((to, column) => {
          const each = new (d.constructor as typeof Folder)(`${d.path}/${row}-${column}`);
          mkdirSync(each.path);
          furnish(each);
          const result = rename(each, from, to, flags);
          const there = FURNITURE.map((name) => status(each, name));
          return [from, to, result, JSON.stringify(there)];
        }),
      ),
  };
}

export const nameCases: Cases = {
  "names of any bytes": {
    asRoot: (d) => {
      const names = [];
      for (let byte = 1; byte < 256; byte++) {
        if (byte === 0x2f || byte === 0x2e) continue;
        names.push(Buffer.of(byte), Buffer.of(0x61, byte, 0x62));
      }
      names.push(Buffer.from("ünïcödé"), Buffer.from([0xff, 0xfe, 0xc0]), Buffer.from("..."));
      for (const name of names) writeFileSync(d.at(name), name);
      const wrong = names.filter((name) => !readFileSync(d.at(name)).equals(name));
      const moved = names.map((name) =>
        attempt(() => renameSync(d.at(name), d.at(Buffer.concat([name, Buffer.of(0xf0)])))),
      );
      return [list(d), wrong.length, moved.filter((result) => result !== "ok")];
    },
  },
  "names of 255 bytes and more": {
    asRoot: (d) =>
      [254, 255, 256, 1000].map((length) => {
        const [name, other] = ["n", "m"].map((letter) => letter.repeat(length)) as [string, string];
        return [
          attempt(() => writeFileSync(d.at(name), "x")),
          attempt(() => mkdirSync(d.at(`d${name.slice(1)}`))),
          attempt(() => linkSync(d.at(name), d.at(other))),
          attempt(() => symlinkSync("x", d.at(`s${name.slice(1)}`))),
          rename(d, name, `r${name.slice(1)}`),
          attempt(() => unlinkSync(d.at(other))),
          status(d, name),
        ];
      }),
  },
  "paths of 4,095 bytes and more": {
    asRoot: (d) => {
      const step = "s".repeat(200);
      let deep = "";
      for (;;) {
        // What is left for the last name must be one that is allowed.
        const left = 4095 - d.at(deep).length;
        if (left <= 250) break;
        deep += `${step.slice(0, Math.min(200, left - 100))}/`;
        mkdirSync(d.at(deep));
      }
      // From the full length of a path down to the last name, whatever the folder is called.
      const rest = (length: number) => `${deep}${"f".repeat(length - d.at(deep).length)}`;
      const results = [
        attempt(() => writeFileSync(d.at(rest(4095)), "long")),
        attempt(() => writeFileSync(d.at(rest(4096)), "longer")),
        attempt(() => readFileSync(d.at(rest(4095)), "utf8")),
        rename(d, rest(4095), rest(4094)),
        rename(d, rest(4094), rest(4096)),
        list(d, deep).length,
      ];
      // Deeper than any one path reaches.
      let dir = openat(AT_FDCWD, d.c(deep), O_RDONLY | O_DIRECTORY);
      for (let i = 0; i < 5; i++) {
        results.push(mkdirat(dir, cString(step), 0o755));
        const next = openat(dir, cString(step), O_RDONLY | O_DIRECTORY);
        close(dir);
        dir = next;
      }
      results.push(openat(dir, cString("file"), O_CREAT | O_RDWR, 0o644) >= 0);
      close(dir);
      return results;
    },
  },
  "rename: everything onto everything": renameMatrix(0),
  "rename: NOREPLACE": renameMatrix(RENAME_NOREPLACE),
  "rename: EXCHANGE": renameMatrix(RENAME_EXCHANGE),
  "rename: WHITEOUT": renameMatrix(RENAME_WHITEOUT),
  "rename: WHITEOUT onto a full directory changes times": {
    asRoot: (d) => {
      for (const path of ["from/dir", "to/full/dir"]) mkdirSync(d.at(path), { recursive: true });
      return changedTimes(d, ["from", "to"], () =>
        rename(d, "from/dir", "to/full", RENAME_WHITEOUT),
      );
    },
  },
  "rename: flags that exclude each other, and unknown ones": {
    asRoot: (d) => {
      furnish(d);
      return [3, 5, 6, 7, 8, 1 << 20].map((flags) => rename(d, "a", "b", flags));
    },
  },
  "rename: two names of one file": {
    asRoot: (d) => {
      writeFileSync(d.at("a"), "x");
      linkSync(d.at("a"), d.at("b"));
      return [rename(d, "a", "b"), list(d), status(d, "a")];
    },
  },
  "rename: into itself, and over a parent": {
    asRoot: (d) => {
      mkdirSync(d.at("a/b/c"), { recursive: true });
      return [
        rename(d, "a", "a/b/c/d"),
        rename(d, "a", "a/b"),
        rename(d, "a/b/c", "a"),
        rename(d, "a/b", "a", RENAME_EXCHANGE),
        rename(d, "a/.", "x"),
        rename(d, "a/..", "x"),
        rename(d, "a/", "x/"),
        rename(d, "x/b/c", "c"),
        [status(d, "x"), status(d, "x/b"), status(d, "c")],
      ];
    },
  },
  "rename: times of what it touches": {
    asRoot: (d) => {
      mkdirSync(d.at("from"));
      mkdirSync(d.at("to"));
      writeFileSync(d.at("from/f"), "1");
      linkSync(d.at("from/f"), d.at("f"));
      writeFileSync(d.at("to/g"), "2");
      linkSync(d.at("to/g"), d.at("g"));
      return changedTimes(d, ["from", "to", "f", "g"], () => rename(d, "from/f", "to/g"));
    },
  },
  "hard links": {
    asRoot: (d) => {
      furnish(d);
      const link = (from: string, to: string) => attempt(() => linkSync(d.at(from), d.at(to)));
      const follow = attempt(() =>
        linkat(AT_FDCWD, d.c("link"), AT_FDCWD, d.c("followed"), AT_SYMLINK_FOLLOW),
      );
      const results = [
        link("a", "a2"),
        link("a", "full/a3"),
        link("a", "b"),
        link("a", "a"),
        link("full", "dir2"),
        link("link", "link2"),
        link("none", "x"),
        link("a", "none/x"),
        follow,
        FURNITURE.map((name) => status(d, name)),
      ];
      unlinkSync(d.at("a"));
      const after = ["a2", "full/a3", "link2", "followed"].map((name) => status(d, name));
      return [...results, after, changedTimes(d, ["a2", ""], () => link("a2", "a9"))];
    },
  },
  symlinks: {
    asRoot: (d) => {
      const targets = [
        "x",
        "/",
        "..",
        "a/b/c",
        "t".repeat(255),
        "long/".repeat(819).slice(0, 4095),
      ];
      const results: unknown[] = targets.map((target, i) => [
        attempt(() => symlinkSync(target, d.at(`s${i}`))),
        attempt(() => readlinkSync(d.at(`s${i}`)) === target),
        status(d, `s${i}`),
      ]);
      results.push(attempt(() => symlinkSync("y".repeat(4096), d.at("too-long"))));
      results.push(attempt(() => symlinkSync("", d.at("empty"))));
      results.push(attempt(() => symlinkSync("x", d.at("s0"))));
      symlinkSync("loop", d.at("loop"));
      results.push(attempt(() => readFileSync(d.at("loop"))));
      results.push(attempt(() => readlinkSync(d.at(""))));
      const bytes = Buffer.from([0x61, 0xff, 0xfe]);
      symlinkSync(bytes, d.at("bytes"));
      results.push(readlinkSync(d.at("bytes"), "buffer").toString("hex"));
      return results;
    },
  },
  "mknod: every type": {
    asRoot: (d) => {
      const make = (name: string, mode: number, device = 0) => [
        attempt(() => mknodat(AT_FDCWD, d.c(name), mode, device)),
        status(d, name),
      ];
      // makedev of a large major and minor.
      const large = 0x123 * 256 + 0x45 + (0x678 >> 0) * 1_048_576;
      return [
        make("file", S_IFREG | 0o640),
        make("untyped", 0o600),
        make("fifo", S_IFIFO | 0o622),
        make("socket", S_IFSOCK | 0o700),
        make("char", S_IFCHR | 0o666, 0x103),
        make("block", S_IFBLK | 0o660, 0x801),
        make("large", S_IFCHR | 0o600, large),
        make("dir", S_IFDIR | 0o755),
        make("wrong", 0o170000 | 0o644),
        make("file", S_IFREG | 0o640),
        attempt(() => closeSync(openSync(d.at("socket"), "r"))),
      ];
    },
    asNobody: (d) =>
      [S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK].map((type) => [
        attempt(() => mknodat(AT_FDCWD, d.c(`n${type}`), type | 0o644, 0x103)),
        status(d, `n${type}`),
      ]),
  },
  "a fifo works": {
    asRoot: (d) => {
      mknodat(AT_FDCWD, d.c("fifo"), S_IFIFO | 0o600, 0);
      const fd = openSync(d.at("fifo"), "r+");
      writeFileSync(fd, "through");
      const buffer = Buffer.alloc(20);
      const got = readSync(fd, buffer, 0, 20, null);
      closeSync(fd);
      return buffer.subarray(0, got).toString();
    },
  },
  "unlink of an open fifo": {
    asRoot: (d) => {
      mknodat(AT_FDCWD, d.c("fifo"), S_IFIFO | 0o600, 0);
      const fd = openSync(d.at("fifo"), "r+");
      unlinkSync(d.at("fifo"));
      const result = fdStatus(fd);
      closeSync(fd);
      return result;
    },
  },
  "mkdir and rmdir": {
    asRoot: (d) => {
      furnish(d);
      const make = (name: string) => attempt(() => mkdirSync(d.at(name)));
      const remove = (name: string) => attempt(() => rmdirSync(d.at(name)));
      return [
        ["a", "full", "link", "none/x", "a/x", "", ".", "new", "new/"].map(make),
        ["a", "full", "link", "none", "a/x", "full/.", "full/inside/..", "new/", "empty"].map(
          remove,
        ),
        attempt(() => unlinkSync(d.at("full"))),
        attempt(() => unlinkSync(d.at("none"))),
        attempt(() => unlinkSync(d.at("a/"))),
        ["", "full", "new"].map((name) => status(d, name)),
        changedTimes(d, [""], () => mkdirSync(d.at("one-more"))),
        changedTimes(d, [""], () => rmdirSync(d.at("one-more"))),
      ];
    },
  },
  "readdir: types, dots, and files of every kind": {
    asRoot: (d) => {
      furnish(d);
      mknodat(AT_FDCWD, d.c("fifo"), S_IFIFO | 0o600, 0);
      mknodat(AT_FDCWD, d.c("char"), S_IFCHR | 0o600, 0x103);
      mknodat(AT_FDCWD, d.c("socket"), S_IFSOCK | 0o600, 0);
      return raw(d, 65_536)
        .map(([name, type]) => `${name} ${type}`)
        .sort();
    },
  },
  "readdir: a large directory, with deletes in between": {
    asRoot: (d) => {
      for (let i = 0; i < 3000; i++) writeFileSync(d.at(`file-${i}`), "");
      const seen = new Set<string>();
      let twice = 0;
      const fd = openSync(d.at(), O_RDONLY | O_DIRECTORY);
      for (let more = batch(fd, 4096); more.length > 0; more = batch(fd, 4096)) {
        for (const [name] of more) {
          if (seen.has(name)) twice += 1;
          seen.add(name);
          // What was listed already goes away while the listing goes on.
          if (name.startsWith("file-") && name.endsWith("7")) unlinkSync(d.at(name));
        }
      }
      closeSync(fd);
      return [seen.size, twice, list(d).length, digest(Buffer.from([...seen].sort().join()))];
    },
  },
  "readdir: positions that were given out lead back": {
    asRoot: (d) => {
      for (let i = 0; i < 500; i++) writeFileSync(d.at(`file-${i}`), "");
      const fd = openSync(d.at(), O_RDONLY | O_DIRECTORY);
      const first = batch(fd, 8192);
      const wrong = first.slice(0, -1).filter(([, , position], i) => {
        seekDirectory(fd, position);
        return batch(fd, 8192)[0]?.[0] !== first[i + 1]?.[0];
      });
      const rewound = seekDirectory(fd, 0n);
      const again = batch(fd, 8192).map(([name]) => name);
      closeSync(fd);
      return [wrong.length, rewound, again.join() === first.map(([name]) => name).join()];
    },
  },
  "unlink of a large tree": {
    asRoot: (d) => {
      for (let i = 0; i < 30; i++) {
        mkdirSync(d.at(`tree/${i}/a/b`), { recursive: true });
        for (let j = 0; j < 10; j++) writeFileSync(d.at(`tree/${i}/a/${j}`), "x");
      }
      rmSync(d.at("tree"), { recursive: true });
      return [list(d), status(d)];
    },
  },
  "a descriptor of kind O_PATH": {
    asRoot: (d) => {
      furnish(d);
      const fd = openat(AT_FDCWD, d.c("full"), O_PATH | O_DIRECTORY);
      renameSync(d.at("full"), d.at("moved"));
      const result = [
        attempt(() => mkdirat(fd, cString("new"), 0o700)),
        list(d, "moved"),
        attempt(() => getdents64(fd, Buffer.alloc(100), 100)),
      ];
      close(fd);
      return result;
    },
  },
};

type RawEntry = readonly [name: string, type: number, position: bigint];

function batch(fd: number, size: number): RawEntry[] {
  const buffer = Buffer.alloc(size);
  const got = getdents64(fd, buffer, size);
  const entries: RawEntry[] = [];
  for (let at = 0; at < got; at += buffer.readUInt16LE(at + 16)) {
    const name = buffer.toString("latin1", at + 19, buffer.indexOf(0, at + 19));
    entries.push([name, buffer.readUInt8(at + 18), buffer.readBigInt64LE(at + 8)]);
  }
  return entries;
}

function raw(d: Folder, size: number): RawEntry[] {
  const fd = openSync(d.at(), O_RDONLY | O_DIRECTORY);
  const entries: RawEntry[] = [];
  for (let more = batch(fd, size); more.length > 0; more = batch(fd, size)) entries.push(...more);
  closeSync(fd);
  return entries;
}
