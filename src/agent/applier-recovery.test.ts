/** The applier after a power cut: from a checkpoint and the log to the end of the log. */
import assert from "node:assert/strict";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { after, test } from "node:test";
import { CutTarget, type CutTargetOptions } from "../../test/support/cut-target.ts";
import { RandomOperations } from "../../test/support/random-operations.ts";
import { Counter } from "../apply/apply-memory.ts";
import type { Reconciliation } from "../apply/reconciler.ts";
import { Prng } from "../base/prng.ts";
import { umask } from "../platform/libc.ts";
import { FS_IMMUTABLE_FL, getInodeFlags, setInodeFlags } from "../platform/replica-files.ts";

umask(0);
const SEED = Number(process.env.STANDIN_SEED ?? 1);
const SEEDS = Number(process.env.STANDIN_CUT_SEEDS ?? 4);
const made: CutTarget[] = [];
after(() => {
  for (const target of made) target.remove();
});

function newTarget(options: CutTargetOptions = {}): CutTarget {
  const target = new CutTarget(options);
  made.push(target);
  return target;
}

for (let seed = SEED; seed < SEED + SEEDS; seed++) {
  test(`after a power cut the log alone makes the replica whole (seed ${seed})`, async () => {
    const prng = new Prng(seed);
    const target = newTarget({
      prepare: ({ source }) => {
        mkdirSync(`${source}/d/e`, { recursive: true });
        writeFileSync(`${source}/d/e/f`, Buffer.alloc(3_000_000, 1));
      },
    });
    const operations = new RandomOperations(target.source, prng);
    const operate = (count: number) => {
      for (let i = 0; i < count; i++) operations.step();
    };
    operate(100);
    target.settle();
    const diverged = () => target.runtime.memory.apply.get(Counter.diverged);
    for (let round = 0; round < 8; round++) {
      operate(prng.uint32() % 80);
      target.apply(target.end);
      const lsn = await target.checkpoint();
      const before = diverged();
      operate(1 + (prng.uint32() % 150));
      const end = target.end;
      target.apply(lsn + (prng.uint32() % (end - lsn + 1)));
      const shown = `round ${round}, checkpoint ${lsn}, cut ${target.ring.applied}, end ${end}`;
      target.cut(prng);
      target.apply(end);
      assert.deepEqual(target.differences(), [], shown);
      assert.equal(target.runtime.tree.wantedCount, 0, `nothing is wanted: ${shown}`);
      assert.equal(diverged(), before, `${JSON.stringify(target.notices)}: ${shown}`);
    }
  });
}

test("a second power cut during the replay goes back to the same checkpoint", async () => {
  const prng = new Prng(SEED + 1000);
  const target = newTarget();
  const operations = new RandomOperations(target.source, prng);
  for (let i = 0; i < 150; i++) operations.step();
  target.settle();
  const lsn = await target.checkpoint();
  for (let i = 0; i < 150; i++) operations.step();
  const { end } = target;
  for (let cut = 0; cut < 6; cut++) {
    target.apply(lsn + (prng.uint32() % (end - lsn + 1)));
    target.cut(prng);
  }
  target.apply(end);
  assert.deepEqual(target.differences(), []);
  assert.equal(target.runtime.tree.wantedCount, 0);
});

test("a first mirror goes on after power cuts, and adopts what was there", async () => {
  const prng = new Prng(SEED + 2000);
  const target = newTarget({
    prepare: ({ source, replica }) => {
      for (let d = 0; d < 6; d++) {
        mkdirSync(`${source}/d${d}`);
        mkdirSync(`${replica}/d${d}`);
        for (let f = 0; f < 20; f++) {
          writeFileSync(`${source}/d${d}/f${f}`, Buffer.alloc(5000, f));
          if (f % 2 === 0) writeFileSync(`${replica}/d${d}/f${f}`, Buffer.alloc(5000, 1));
        }
      }
    },
  });
  // What is older than a checkpoint was not made after it.
  utimesSync(target.replica, 1, 1);
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const operations = new RandomOperations(target.source, prng);
  let asked = 0;
  for (let cut = 0; cut < 12; cut++) {
    for (let i = 0; i < 10; i++) operations.step();
    asked += target.ask(5);
    target.apply(target.end);
    const lsn = await target.checkpoint();
    for (let i = 0; i < 10; i++) operations.step();
    asked += target.ask(1 + (prng.uint32() % 20));
    target.apply(lsn + (prng.uint32() % (target.end - lsn + 1)));
    target.cut(prng);
  }
  assert.ok(asked > 0);
  target.settle();
  assert.deepEqual(target.differences(), []);
});

test("what went through a folder that is gone by the cut is whole all the same", async () => {
  const target = newTarget({
    prepare: ({ source }) => {
      mkdirSync(`${source}/d/e`, { recursive: true });
      writeFileSync(`${source}/f`, Buffer.alloc(9000, 1));
    },
  });
  target.settle();
  await target.checkpoint();
  const { source } = target;
  source.rename("f", "d/e/f");
  source.create("d/e/new");
  source.write("d/e/new", 0, Buffer.alloc(5000, 2));
  source.link("d/e/other", "d/e/f");
  source.rename("d/e/new", "new");
  source.rename("d/e/f", "g");
  source.rename("d/e/other", "h");
  source.remove("d/e");
  source.remove("d");
  target.apply(target.end);
  target.cut(new Prng(2));
  target.apply(target.end);
  assert.deepEqual(target.differences(), []);
  assert.equal(target.runtime.tree.wantedCount, 0);
});

test("flags that were set later do not hinder what is applied again", async () => {
  const target = newTarget({
    prepare: ({ source }) => writeFileSync(`${source}/f`, Buffer.alloc(9000, 1)),
  });
  target.settle();
  await target.checkpoint();
  const diverged = target.runtime.memory.apply.get(Counter.diverged);
  target.source.truncate("f", 5000);
  target.source.write("f", 100, Buffer.from("written"));
  target.source.chmod("f", 0o640);
  target.source.chown("f", 5, 6);
  target.source.fallocate("f", 3, 0, 4096);
  target.source.setxattr("f", "user.name", Buffer.from("value"));
  target.source.utimes("f", 1_000_000, 7);
  target.source.rename("f", "g");
  target.apply(target.end);
  target.runtime.applier.replica.flush();
  const files = [`${target.source.root}/g`, `${target.replica}/g`].map((path) =>
    openSync(path, "r"),
  );
  try {
    target.cut(new Prng(4), () => {
      for (const fd of files) setInodeFlags(fd, getInodeFlags(fd) | FS_IMMUTABLE_FL);
    });
    target.apply(target.end);
    assert.equal(target.runtime.memory.apply.get(Counter.diverged), diverged);
    // The op that sets the flag is not in this log.
    const replica = files[1] as number;
    setInodeFlags(replica, getInodeFlags(replica) | FS_IMMUTABLE_FL);
    assert.deepEqual(target.differences(), []);
  } finally {
    for (const fd of files) {
      setInodeFlags(fd, getInodeFlags(fd) & ~FS_IMMUTABLE_FL);
      closeSync(fd);
    }
  }
});

test("what others have put into the replica stays what it is by the policy", async () => {
  for (const orphans of ["keep", "aside"] as const) {
    const target = newTarget({
      orphans,
      prepare: ({ source }) => {
        mkdirSync(`${source}/d`);
        writeFileSync(`${source}/d/f`, "contents");
      },
    });
    target.settle();
    writeFileSync(`${target.replica}/d/orphan`, "of somebody");
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await target.checkpoint();
    target.source.create("d/after");
    target.source.rename("d/f", "d/g");
    target.apply(target.end);
    target.cut(new Prng(1));
    assert.equal(existsSync(`${target.replica}/d/after`), false, "it was made after");
    assert.equal(existsSync(`${target.replica}/d/f`), true, "it has its name back");
    assert.equal(existsSync(`${target.replica}/d/orphan`), orphans === "keep");
    const asideFolder = `${target.home}/.replica.standin/aside/recovered`;
    if (orphans === "aside") {
      const [name] = readdirSync(asideFolder);
      assert.equal(readFileSync(`${asideFolder}/${name}`, "utf8"), "of somebody");
    }
    target.apply(target.end);
    const expected = orphans === "keep" ? ["/d/orphan: only in the replica"] : [];
    assert.equal(target.differences().length, expected.length);
  }
});

test("a damaged checkpoint is refused, and everything is mirrored", async () => {
  const target = newTarget({
    prepare: ({ source }) => writeFileSync(`${source}/f`, "contents"),
  });
  target.settle();
  await target.checkpoint();
  const bytes = readFileSync(`${target.home}/checkpoint`);
  bytes[100] = (bytes[100] as number) ^ 1;
  writeFileSync(`${target.home}/checkpoint`, bytes);
  target.source.create("g");
  target.cut(new Prng(1));
  assert.match(JSON.stringify(target.recoveries), /problem.*changed/);
  target.settle();
  assert.deepEqual(target.differences(), []);
});

test("another folder in the replica's place is compared, not taken for the replica", async () => {
  const target = newTarget({
    prepare: ({ source }) => {
      mkdirSync(`${source}/d`);
      writeFileSync(`${source}/d/f`, "contents");
      writeFileSync(`${source}/gone`, "contents");
    },
  });
  target.settle();
  await target.checkpoint();
  target.runtime.applier.replica.closeAll();
  renameSync(target.replica, `${target.home}/elsewhere`);
  mkdirSync(`${target.replica}/d`, { recursive: true });
  writeFileSync(`${target.replica}/d/f`, "CONTENTS");
  writeFileSync(`${target.replica}/other`, "of somebody");
  target.cut(new Prng(1));
  const found = target.recoveries[0] as Reconciliation;
  assert.equal(found.isForeign, true);
  assert.equal(found.missing, 1);
  assert.equal(existsSync(`${target.replica}/d/f`), true);
});
