/**
 * What would lead an applier out of its replica: symlinks that somebody has put there, and names in
 * a listing. Nothing out there may change, and the replica becomes what the source is.
 */
import assert from "node:assert/strict";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import { CutTarget } from "../../test/support/cut-target.ts";
import { openReplicaRoot } from "../apply/private-area.ts";
import { Prng } from "../base/prng.ts";
import { RingWriter } from "../journal/ring.ts";
import { appendDirectoryEntry, startMirrorDirectory } from "../model/mirror-record.ts";
import { OP_FLAG_FIRST, OP_FLAG_LAST, OpKind, OpView } from "../model/op.ts";
import { PassKind } from "../mirror/pass-state.ts";
import { AT_FDCWD, close, cString, O_PATH, openat, umask } from "../platform/libc.ts";
import { xattrNames } from "../platform/replica-files.ts";

umask(0);

/** A folder outside that looks like what the links stand in for, and what is in it. */
class Outside {
  readonly path: string = mkdtempSync(join(tmpdir(), "standin-outside-"));

  constructor(t: TestContext) {
    t.after(() => rmSync(this.path, { recursive: true, force: true }));
    mkdirSync(`${this.path}/e/deep`, { recursive: true });
    for (const name of ["victim", "e/f", "e/k", "e/deep/x"]) {
      writeFileSync(`${this.path}/${name}`, "not to be touched", { mode: 0o640 });
    }
  }

  /** All that an op could change. */
  shown(): string[] {
    const names = ["", ...readdirSync(this.path, { recursive: true, encoding: "utf8" }).sort()];
    return names.map((name) => {
      const path = `${this.path}/${name}`;
      const { mode, uid, gid, size, nlink, mtimeMs, ctimeMs } = lstatSync(path);
      const fd = openat(AT_FDCWD, cString(path), O_PATH);
      const xattrs = xattrNames(fd, true).length;
      close(fd);
      const text = lstatSync(path).isFile() ? readFileSync(path, "utf8") : "";
      return [name, mode, uid, gid, size, nlink, mtimeMs, ctimeMs, xattrs, text].join(" ");
    });
  }
}

function filled(t: TestContext): CutTarget {
  const target = new CutTarget({
    orphans: "delete",
    prepare: ({ source }) => {
      mkdirSync(`${source}/d/e/deep`, { recursive: true });
      for (const name of ["d/e/f", "d/e/k", "d/e/deep/x", "g", "h", "i"]) {
        writeFileSync(`${source}/${name}`, `of the source: ${name}`);
      }
    },
  });
  t.after(() => target.remove());
  target.settle();
  assert.deepEqual(target.differences(), []);
  return target;
}

/** A folder and files become links, and there are links where names will be made. */
function plant({ replica }: CutTarget, { path }: Outside): void {
  renameSync(`${replica}/d`, `${path}-was`);
  rmSync(`${path}-was`, { recursive: true });
  symlinkSync(path, `${replica}/d`);
  for (const name of ["g", "h"]) rmSync(`${replica}/${name}`);
  symlinkSync(`${path}/victim`, `${replica}/g`);
  symlinkSync("../".repeat(20) + path.slice(1), `${replica}/h`);
  symlinkSync(`${path}/victim`, `${replica}/new-file`);
  symlinkSync(path, `${replica}/new-folder`);
  symlinkSync(`${path}/not-there`, `${replica}/new-other`);
}

/** Ops of every kind that go by the links, or to where they stand. */
function change({ source }: CutTarget): void {
  source.write("d/e/f", 3, Buffer.from("changed"));
  source.truncate("d/e/k", 2);
  source.chmod("d/e/k", 0o777);
  source.chown("d/e/deep/x", 7, 7);
  source.utimes("d/e", 1234, 5);
  source.create("d/e/made");
  source.mkdir("d/e/folder");
  source.symlink("d/link", "e");
  source.link("d/e/linked", "i");
  source.remove("d/e/deep/x");
  source.rename("d/e/deep", "d/deep");
  source.write("g", 0, Buffer.from("changed"));
  source.truncate("g", 5);
  source.chmod("g", 0o604);
  source.setxattr("g", "user.a", Buffer.from("1"));
  source.utimes("g", 99, 9);
  source.remove("h");
  source.mkdir("h");
  source.create("h/in");
  source.create("new-file");
  source.write("new-file", 0, Buffer.from("new"));
  source.mkdir("new-folder");
  source.create("new-folder/in");
  source.rename("i", "new-other");
  source.exchange("new-file", "new-other");
}

test("links planted in a replica lead no op outside, and are replaced", (t) => {
  for (const holdsDescriptors of [true, false]) {
    const outside = new Outside(t);
    const target = filled(t);
    const before = outside.shown();
    plant(target, outside);
    if (!holdsDescriptors) target.runtime.applier.replica.closeAll();
    change(target);
    target.settle();
    assert.deepEqual(outside.shown(), before);
    target.runtime.startPass(PassKind.resync);
    target.settle();
    assert.deepEqual(outside.shown(), before);
    assert.deepEqual(target.differences(), []);
  }
});

test("a mirror and a comparison follow no planted link", (t) => {
  const outside = new Outside(t);
  const target = filled(t);
  const before = outside.shown();
  plant(target, outside);
  target.runtime.startPass(PassKind.verify);
  target.settle();
  assert.ok(target.runtime.differences.count > 0, "they are told");
  assert.deepEqual(outside.shown(), before);
  target.runtime.startPass(PassKind.mirror);
  target.settle();
  assert.deepEqual(outside.shown(), before);
  assert.deepEqual(target.differences(), []);
});

test("links that are found after a power cut lead nothing outside", async (t) => {
  const outside = new Outside(t);
  const target = filled(t);
  const before = outside.shown();
  await target.checkpoint();
  change(target);
  target.apply(target.end);
  target.cut(new Prng(1), () => {
    for (const name of ["h", "new-file", "new-folder", "new-other"]) {
      rmSync(`${target.replica}/${name}`, { recursive: true, force: true });
    }
    mkdirSync(`${target.replica}/h`);
    plantAfresh(target, outside);
  });
  target.apply(target.end);
  target.settle();
  assert.deepEqual(outside.shown(), before);
  target.runtime.startPass(PassKind.resync);
  target.settle();
  assert.deepEqual(outside.shown(), before);
  assert.deepEqual(target.differences(), []);
});

function plantAfresh(target: CutTarget, outside: Outside): void {
  rmSync(`${target.replica}/h`, { recursive: true });
  writeFileSync(`${target.replica}/h`, "");
  plant(target, outside);
}

test("a listing with names that lead outside is not carried out", (t) => {
  const target = filled(t);
  const { ring, home } = target;
  const op = new OpView(new ArrayBuffer(4096)).at(0);
  op.start(OpKind.mirrorDirectory, 0, target.source.rootIno);
  op.flags = OP_FLAG_FIRST | OP_FLAG_LAST;
  op.mode = 0o040755;
  startMirrorDirectory(op);
  const numbers = { size: 0, mtimeSec: 0, mtimeNsec: 0, uid: 0, gid: 0, links: 2, rdev: 0 };
  const entry = { ...numbers, ino: 987_654, mode: 0o040755, target: new Uint8Array(0) };
  appendDirectoryEntry(op, { ...entry, name: Buffer.from("../beside") });
  const writer = new RingWriter(ring, 0);
  writer.reserve(op.size);
  ring.memory.bytes.set(op.bytes.subarray(0, op.size), writer.at);
  writer.publish(op.size);
  const names = readdirSync(home);
  const apply = () => target.runtime.applyBatch(() => 0, 0);
  assert.throws(apply, /cannot be read: mirror-directory has a forbidden name/);
  assert.deepEqual(readdirSync(home), names);
});

test("a private area that is a link is refused, and what it leads to is left alone", (t) => {
  const outside = new Outside(t);
  const home = mkdtempSync(join(tmpdir(), "standin-area-"));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  mkdirSync(`${home}/replica`);
  symlinkSync(outside.path, `${home}/.replica.standin`);
  const before = outside.shown();
  assert.throws(() => openReplicaRoot(`${home}/replica`), { code: "REPLICA_ROOT" });
  rmSync(`${home}/.replica.standin`);
  mkdirSync(`${home}/.replica.standin`);
  symlinkSync(outside.path, `${home}/.replica.standin/trash`);
  assert.throws(() => openReplicaRoot(`${home}/replica`), { code: "REPLICA_ROOT" });
  assert.deepEqual(outside.shown(), before);
});
