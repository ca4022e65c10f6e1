import assert from "node:assert/strict";
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { test } from "node:test";
import { PassKind } from "../mirror/pass-state.ts";
import { RandomOperations } from "../../test/support/random-operations.ts";
import { Prng } from "../base/prng.ts";
import { cString, setxattr } from "../platform/libc.ts";
import { getInodeFlags, setInodeFlags } from "../platform/replica-files.ts";
import { compareTrees } from "../../test/support/compare-trees.ts";
import { ApplierBench } from "../../test/support/applier-bench.ts";

test("ApplierRuntime mirrors what is there and applies what is done afterwards", () => {
  const bench = new ApplierBench({
    prepare: ({ source }) => {
      mkdirSync(`${source}/a/b`, { recursive: true });
      writeFileSync(`${source}/a/b/file`, "hello");
      writeFileSync(`${source}/big`, Buffer.alloc(3_000_000, 7));
    },
  });
  bench.settle();
  bench.assertEqual();
  assert.deepEqual(bench.ended, [PassKind.mirror]);
  const { source } = bench;
  source.create("new", 0o640);
  source.write("new", 0, Buffer.from("some data"));
  source.write("new", 100_000, Buffer.from("far away"));
  source.mkdir("dir", 0o2775);
  source.create("dir/x", 0o4755);
  source.chown("dir/x", 1000, 1001);
  source.chmod("dir/x", 0o6711);
  source.symlink("dir/link", "../nowhere");
  source.mknod("dir/fifo", 0o010600);
  source.mknod("dir/device", 0o020660, 0x103);
  source.setxattr("dir/x", "user.one", Buffer.from("1"));
  source.setxattr("dir/x", "trusted.two", Buffer.from("22"));
  source.removexattr("dir/x", "user.one");
  source.link("a/hard", "dir/x");
  source.rename("a/b", "dir/moved");
  source.rename("dir/link", "new");
  source.truncate("big", 1_000_001);
  source.fallocate("big", 3, 4096, 100_000);
  source.fallocate("big", 16, 500_000, 1000);
  source.copy("big", 2_000_000, "big", 600_000, 70_000);
  source.utimes("dir", 1234, 567);
  source.exchange("dir/moved", "a/hard");
  source.remove("dir/moved");
  bench.settle();
  bench.assertEqual();
  assert.deepEqual(bench.notices, []);
});

test("ApplierRuntime makes an older replica equal and puts aside what is not the source's", () => {
  const bench = new ApplierBench({
    orphans: "aside",
    prepare: ({ source, replica }) => {
      mkdirSync(`${source}/same`);
      mkdirSync(`${replica}/same`);
      writeFileSync(`${source}/same/equal`, "equal");
      writeFileSync(`${replica}/same/equal`, "equal");
      writeFileSync(`${source}/same/changed`, Buffer.alloc(2_500_000, 1));
      const changed = Buffer.alloc(2_600_000, 1);
      changed[1_100_000] = 9;
      writeFileSync(`${replica}/same/changed`, changed);
      writeFileSync(`${source}/type`, "a file here");
      mkdirSync(`${replica}/type/with/content`, { recursive: true });
      writeFileSync(`${replica}/orphan`, "nobody's");
    },
  });
  bench.settle();
  bench.assertEqual();
  const aside = `${bench.home}/.replica.standin/aside`;
  const kept = readdirSync(aside).flatMap((pass) => readdirSync(`${aside}/${pass}`));
  assert.equal(kept.length, 2);
});

test("ApplierRuntime brings back what somebody changed on the replica", () => {
  const bench = new ApplierBench();
  const { source } = bench;
  bench.settle();
  source.mkdir("d");
  source.mkdir("d/e");
  source.create("d/e/f");
  source.create("d/g");
  bench.settle();
  rmSync(`${bench.replicaPath}/d`, { recursive: true });
  source.write("d/e/f", 0, Buffer.from("after"));
  source.create("d/e/h");
  source.rename("d/g", "g");
  bench.settle();
  bench.assertEqual();
  writeFileSync(`${bench.replicaPath}/g`, "foreign");
  writeFileSync(`${bench.replicaPath}/alien`, "foreign");
  bench.runtime.startPass(PassKind.verify);
  bench.settle();
  assert.deepEqual(
    bench.runtime.differences.list().map(({ path }) => path),
    ["alien", ".", "g"],
  );
  bench.runtime.startPass(PassKind.resync);
  bench.settle();
  bench.assertEqual();
  bench.runtime.startPass(PassKind.verify);
  bench.settle();
  assert.equal(bench.runtime.differences.count, 0);
  assert.equal(readFileSync(`${bench.replicaPath}/g`, "utf8"), "");
});

test("ApplierRuntime copies nothing that is excluded, and follows what crosses the border", () => {
  const bench = new ApplierBench({
    exclude: ["*.tmp", "/cache/**"],
    prepare: ({ source }) => {
      mkdirSync(`${source}/cache/deep`, { recursive: true });
      writeFileSync(`${source}/cache/deep/x`, "x");
      writeFileSync(`${source}/a.tmp`, "tmp");
      writeFileSync(`${source}/b`, "b");
    },
  });
  const { source } = bench;
  bench.settle();
  const names = () => readdirSync(bench.replicaPath, { recursive: true }).sort();
  assert.deepEqual(names(), ["b", "cache"]);
  source.create("c.tmp");
  source.write("c.tmp", 0, Buffer.from("comes in"));
  source.rename("c.tmp", "c");
  source.rename("b", "b.tmp");
  source.rename("cache/deep", "deep");
  source.mkdir("out");
  source.create("out/y");
  source.rename("out", "cache/out");
  source.create("d.tmp");
  source.link("d", "d.tmp");
  bench.settle();
  assert.deepEqual(names(), ["c", "cache", "d", "deep", "deep/x"]);
  assert.equal(readFileSync(`${bench.replicaPath}/c`, "utf8"), "comes in");
  const times = compareTrees(bench.sourcePath, bench.replicaPath).filter((d) => /mtime/.test(d));
  assert.deepEqual(times, []);
});

test("ApplierRuntime follows a file that gets the name of an excluded directory", () => {
  const bench = new ApplierBench({ exclude: ["*.tmp", "folder/"] });
  const { source } = bench;
  bench.settle();
  for (const path of ["folder", "below", "below/folder"]) source.mkdir(path);
  for (const path of ["a.tmp", "b.tmp"]) source.create(path);
  bench.settle();
  source.exchange("folder", "a.tmp");
  source.exchange("b.tmp", "below/folder");
  bench.settle();
  const names = readdirSync(bench.replicaPath, { recursive: true }).sort();
  assert.deepEqual(names, ["below", "below/folder", "folder"]);
});

test("ApplierRuntime judges all anew that a rename of a directory takes along", () => {
  const bench = new ApplierBench({
    exclude: ["/out/**/file"],
    prepare: ({ source }) => {
      for (let i = 0; i < 600; i++) {
        mkdirSync(`${source}/in/${i}`, { recursive: true });
        writeFileSync(`${source}/in/${i}/file`, "");
      }
    },
  });
  bench.settle();
  bench.source.rename("in", "out");
  bench.settle();
  const names = readdirSync(`${bench.replicaPath}/out`, { recursive: true });
  assert.equal(names.length, 600);
});

test("ApplierRuntime finds no difference where rules have made it ask the source", () => {
  const bench = new ApplierBench({ exclude: ["*.tmp"] });
  const { source } = bench;
  for (const path of ["a", "a.tmp", "b", "b.tmp"]) source.create(path);
  source.write("a.tmp", 0, Buffer.from("copied"));
  bench.settle();
  bench.runtime.startPass(PassKind.verify);
  bench.housekeep();
  source.copy("a", 0, "a.tmp", 0, 6);
  source.exchange("b", "b.tmp");
  bench.settle();
  assert.deepEqual(bench.runtime.differences.list(), []);
  const names = readdirSync(bench.replicaPath).sort();
  assert.deepEqual(names, ["a", "b"]);
  assert.equal(readFileSync(`${bench.replicaPath}/a`, "utf8"), "copied");
});

test("ApplierRuntime counts no name of a file that is in the trash", () => {
  const bench = new ApplierBench({ exclude: ["/out/**"] });
  const { source } = bench;
  for (const path of ["out", "folder"]) source.mkdir(path);
  source.create("folder/file");
  source.link("other", "folder/file");
  bench.settle();
  source.rename("folder", "out/folder");
  bench.runtime.startPass(PassKind.verify);
  bench.settle();
  assert.deepEqual(bench.runtime.differences.list(), []);
});

test("ApplierRuntime does not take a directory's number for it that a file has by now", (t) => {
  const bench = new ApplierBench();
  const { source } = bench;
  source.mkdir("folder");
  bench.settle();
  bench.runtime.startPass(PassKind.verify);
  bench.housekeep(); // asks for both listings
  const ino = source.ino("folder");
  source.remove("folder");
  source.create("file");
  if (source.ino("file") !== ino) t.skip("this file system gives other numbers");
  bench.settle();
  assert.deepEqual(bench.runtime.differences.list(), []);
});

test("ApplierRuntime keeps nameless files until they get a name or are forgotten", () => {
  const bench = new ApplierBench();
  const { source } = bench;
  bench.settle();
  source.tmpfile(`${bench.home}/nameless-1`);
  const forgotten = source.tmpfile(`${bench.home}/nameless-2`);
  bench.round();
  const kept = `${bench.home}/.replica.standin/nameless`;
  assert.equal(readdirSync(kept).length, 2);
  bench.runtime.startPass(PassKind.resync);
  source.linkTmpfile("named", `${bench.home}/nameless-1`);
  source.forget(forgotten);
  bench.settle();
  bench.assertEqual();
  assert.deepEqual(readdirSync(kept), []);
});

test("ApplierRuntime gives no ACL to new files that the source's have not", () => {
  const bench = new ApplierBench();
  const { source } = bench;
  bench.settle();
  source.mkdir("d");
  // Version 2, user::rwx, user:1000:rwx, group::r-x, mask::rwx, other::r-x
  const acl = Buffer.from(
    "0200000001000700ffffffff02000700e803000004000500ffffffff10000700ffffffff20000500ffffffff",
    "hex",
  );
  bench.settle();
  setxattr(
    cString(`${bench.replicaPath}/d`),
    cString("system.posix_acl_default"),
    acl,
    acl.length,
    0,
  );
  source.create("d/f", 0o664);
  source.mkdir("d/g", 0o775);
  source.mknod("d/fifo", 0o010664);
  bench.settle();
  const xattrs = compareTrees(`${bench.sourcePath}/d`, `${bench.replicaPath}/d`);
  assert.deepEqual(
    xattrs.filter((difference) => /^\/[a-z]/.test(difference)),
    [],
  );
});

test("ApplierRuntime gives no inode flags to mirrored files that the source's have not", () => {
  const bench = new ApplierBench();
  const FS_NODUMP_FL = 0x40;
  mkdirSync(`${bench.sourcePath}/d`);
  writeFileSync(`${bench.sourcePath}/d/before`, "text");
  const directory = openSync(`${bench.sourcePath}/d`, "r");
  assert.equal(setInodeFlags(directory, getInodeFlags(directory) | FS_NODUMP_FL), 0);
  closeSync(directory);
  writeFileSync(`${bench.sourcePath}/d/after`, "text");
  bench.settle();
  const flagOf = (name: string): number => {
    const fd = openSync(`${bench.replicaPath}/d/${name}`, "r");
    const flags = getInodeFlags(fd);
    closeSync(fd);
    return flags & FS_NODUMP_FL;
  };
  assert.equal(flagOf("."), FS_NODUMP_FL);
  assert.equal(flagOf("before"), 0, "made before its directory had the flag");
  assert.equal(flagOf("after"), FS_NODUMP_FL);
});

test("ApplierRuntime writes to what is immutable on the replica, and leaves it immutable", () => {
  const bench = new ApplierBench();
  const { source } = bench;
  bench.settle();
  source.create("f");
  bench.settle();
  const fd = openSync(`${bench.replicaPath}/f`, "r");
  setInodeFlags(fd, getInodeFlags(fd) | 0x10);
  bench.runtime.applier.replica.closeAll();
  source.write("f", 0, Buffer.from("new"));
  bench.runtime.applyBatch(() => 0, 0);
  bench.round();
  bench.runtime.applier.replica.flush();
  assert.equal(readFileSync(`${bench.replicaPath}/f`, "utf8"), "new");
  assert.equal(getInodeFlags(fd) & 0x10, 0x10);
  setInodeFlags(fd, getInodeFlags(fd) & ~0x10);
  closeSync(fd);
  bench.settle();
  bench.assertEqual();
});

const SEED = Number(process.env.STANDIN_SEED ?? 1);
const EVERY = Number(process.env.STANDIN_EVERY ?? 100);
const STEPS = Number(process.env.STANDIN_STEPS ?? 3000);

test(`ApplierRuntime follows random operations exactly (seed ${SEED})`, () => {
  const bench = new ApplierBench();
  bench.settle();
  const operations = new RandomOperations(bench.source, new Prng(SEED));
  for (let i = 0; i < STEPS; i++) {
    operations.step();
    if (i % 7 === 0) bench.round();
    if (i % EVERY !== 0) continue;
    bench.settle();
    assert.deepEqual(
      compareTrees(bench.sourcePath, bench.replicaPath),
      [],
      `step ${i} ${operations.last}`,
    );
  }
  bench.settle();
  bench.assertEqual();
  assert.deepEqual(bench.notices, []);
});
