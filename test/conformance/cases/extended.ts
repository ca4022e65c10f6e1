/** Extended attributes of every name space, and the ACLs that are kept in them. */
import {
  chmodSync,
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import {
  AT_FDCWD,
  cString,
  fgetxattr,
  fsetxattr,
  listxattr,
  mknodat,
  O_RDWR,
  O_TMPFILE,
  openat,
  S_IFIFO,
} from "../../../src/platform/libc.ts";
import { umask } from "../../support/more-calls.ts";
import { attempt, type Cases, type Folder, getXattr as get, named, NOBODY } from "../case.ts";
import { removeXattr as remove, setXattr as set, status } from "../case.ts";

const names = (d: Folder, name: string, size = 70_000) =>
  attempt(() => {
    const buffer = Buffer.alloc(size);
    const got = listxattr(d.c(name), buffer, size);
    if (got < 0 || size === 0) return named(got);
    return buffer.toString("latin1", 0, got).split("\0").sort().join(" ");
  });
const chmod = (d: Folder, name: string, mode: number) => attempt(() => chmodSync(d.at(name), mode));

const CREATE = 1;
const REPLACE = 2;

/** An ACL as the kernel stores it: entries of tag, permissions, id. */
function acl(...entries: readonly (readonly [tag: number, permissions: number, id?: number])[]) {
  const buffer = Buffer.alloc(4 + entries.length * 8);
  buffer.writeUInt32LE(2, 0);
  for (const [i, [tag, permissions, id]] of entries.entries()) {
    buffer.writeUInt16LE(tag, 4 + i * 8);
    buffer.writeUInt16LE(permissions, 6 + i * 8);
    buffer.writeUInt32LE(id ?? 0xffffffff, 8 + i * 8);
  }
  return buffer;
}
const USER_OBJ = 1;
const USER = 2;
const GROUP_OBJ = 4;
const MASK = 16;
const OTHER = 32;
const ACCESS = "system.posix_acl_access";
const DEFAULT = "system.posix_acl_default";
const RICH = acl([USER_OBJ, 7], [USER, 6, NOBODY], [GROUP_OBJ, 5], [MASK, 7], [OTHER, 5]);

export const extendedCases: Cases = {
  "xattrs: every name space, sizes and flags": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "");
      symlinkSync("f", d.at("link"));
      mkdirSync(d.at("dir"));
      mknodat(AT_FDCWD, d.c("fifo"), S_IFIFO | 0o600, 0);
      const keys = ["user.a", "trusted.b", "security.c", "system.d", "other.e", "user.", ""];
      const results: unknown[] = ["f", "dir", "fifo"].flatMap((name) =>
        keys.map((key) => [set(d, name, key, "value"), get(d, name, key), names(d, name)]),
      );
      results.push(
        set(d, "f", "user.a", "1", CREATE),
        set(d, "f", "user.new", "1", REPLACE),
        set(d, "f", "user.new", "1", CREATE),
        set(d, "f", "user.new", "22", REPLACE),
        set(d, "f", "user.new", "22", 8),
        set(d, "f", "user.empty", ""),
        get(d, "f", "user.empty"),
        get(d, "f", "user.new", 0),
        get(d, "f", "user.new", 1),
        get(d, "f", "user.none"),
        names(d, "f", 0),
        names(d, "f", 3),
        set(d, "f", `user.${"n".repeat(250)}`, "1"),
        set(d, "f", `user.${"n".repeat(251)}`, "1"),
        set(d, "f", "user.large", Buffer.alloc(3000, 1)),
        get(d, "f", "user.large"),
        set(d, "f", "user.too-large", Buffer.alloc(65_537, 1)),
        remove(d, "f", "user.large"),
        remove(d, "f", "user.large"),
        remove(d, "none", "user.large"),
        names(d, "f"),
      );
      return results;
    },
    asNobody: (d) => [names(d, "f"), get(d, "f", "trusted.b"), set(d, "f", "trusted.z", "1")],
  },
  "xattrs: through a descriptor, also of an unlinked file": {
    asRoot: (d) => {
      const fd = openSync(d.at("f"), "w+");
      unlinkSync(d.at("f"));
      const value = Buffer.alloc(10);
      const results = [
        attempt(() => fsetxattr(fd, cString("user.x"), Buffer.from("v"), 1, 0)),
        attempt(() => fgetxattr(fd, cString("user.x"), value, 10)),
        value.toString("latin1", 0, 1),
      ];
      closeSync(fd);
      return results;
    },
  },
  "ACL: a default one decides, not the umask": {
    asRoot: (d) => {
      mkdirSync(d.at("dir"));
      const results: unknown[] = [set(d, "dir", DEFAULT, RICH)];
      const before = umask(0o077);
      writeFileSync(d.at("dir/f"), "");
      mkdirSync(d.at("dir/sub"));
      mkdirSync(d.at("dir/sub/sub"));
      mknodat(AT_FDCWD, d.c("dir/fifo"), S_IFIFO | 0o666, 0);
      symlinkSync("f", d.at("dir/link"));
      const fd = openat(AT_FDCWD, d.c("dir"), O_TMPFILE | O_RDWR, 0o666);
      results.push(fstatSync(fd).mode);
      closeSync(fd);
      umask(before);
      for (const name of ["dir", "dir/f", "dir/sub", "dir/sub/sub", "dir/fifo", "dir/link"]) {
        results.push([name, status(d, name), get(d, name, ACCESS), get(d, name, DEFAULT)]);
      }
      results.push(remove(d, "dir", DEFAULT), get(d, "dir", DEFAULT));
      umask(0o077);
      writeFileSync(d.at("dir/later"), "");
      umask(before);
      return [...results, status(d, "dir/later"), get(d, "dir/later", ACCESS)];
    },
  },
  "ACL: access, mask and mode": {
    asRoot: (d) => {
      writeFileSync(d.at("f"), "secret");
      chmodSync(d.at("f"), 0o600);
      mkdirSync(d.at("dir"));
      chmodSync(d.at("dir"), 0o700);
      const results: unknown[] = [
        set(d, "f", ACCESS, RICH),
        status(d, "f"),
        get(d, "f", ACCESS),
        chmod(d, "f", 0o640),
        get(d, "f", ACCESS),
        set(d, "f", ACCESS, acl([USER_OBJ, 6], [GROUP_OBJ, 4], [OTHER, 0])),
        [status(d, "f"), get(d, "f", ACCESS)],
        set(d, "f", ACCESS, acl([USER_OBJ, 6])),
        set(d, "f", ACCESS, Buffer.from("junk")),
        set(d, "f", DEFAULT, RICH),
        set(d, "f", ACCESS, RICH),
        set(d, "dir", ACCESS, RICH),
        names(d, "f"),
      ];
      writeFileSync(d.at("removed"), "");
      set(d, "removed", ACCESS, RICH);
      return [...results, remove(d, "removed", ACCESS), status(d, "removed")];
    },
    asNobody: (d) => [
      attempt(() => readFileSync(d.at("f"), "utf8")),
      attempt(() => writeFileSync(d.at("f"), "x", { flag: "r+" })),
      attempt(() => writeFileSync(d.at("dir/new"), "x")),
      set(d, "f", ACCESS, RICH),
      get(d, "f", ACCESS),
    ],
  },
};
