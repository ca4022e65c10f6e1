import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";

import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { LocalRun } from "../support/local-run.ts";

const skip = skipUnless("root", "fuse", "fuse-resend");

async function mirrored(run: LocalRun): Promise<void> {
  for (let at = 0; at < 20; at++) writeFileSync(`${run.source}/${at}`, `file ${at}\n`);
  run.start();
  await run.waitFor("mirrored");
}

test("after the death of everything, what was answered is applied by the next start", {
  skip,
}, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  await mirrored(run);
  run.command("pause");
  for (let at = 0; at < 100; at++) writeFileSync(`${run.source}/answered-${at}`, String(at));
  run.kill("agent", "applier", "keeper", "engine");
  await run.ended();
  assert.throws(() => readFileSync(`${run.replica}/answered-99`), { code: "ENOENT" });
  run.start();
  assert.equal((await run.waitFor("mounted")).adopted, false);
  assert.equal(run.status().state, "paused", "a pause outlives its agent");
  run.command("resume");
  await run.waitUntil((status) => status.protected);
  assert.equal(run.command("flush").code, 0);
  assert.deepEqual(compareTrees(run.source, run.replica), []);
});

test("a stop while paused leaves what is not applied to the next start", { skip }, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  await mirrored(run);
  run.command("pause");
  writeFileSync(`${run.source}/late`, "not yet in the copy");
  assert.equal(await run.stop(), 0);
  assert.equal(run.event("stopped")?.drained, false);
  assert.equal(run.isMounted(), false);
  run.start();
  await run.waitFor("mounted");
  run.command("resume");
  await run.waitUntil((status) => status.protected);
  assert.deepEqual(compareTrees(run.source, run.replica), []);
});

test("a full disk beneath the copy is said, harms nobody, and ends by itself", {
  skip,
}, async (t) => {
  const run = new LocalRun();
  spawnSync("mount", ["-t", "tmpfs", "-o", "size=8M", "tmpfs", run.replica]);
  t.after(async () => {
    await run.clear().catch(() => {});
    spawnSync("umount", ["-l", run.replica]);
    await run.clear();
  });
  await mirrored(run);
  const content = Buffer.alloc(12 << 20, "x");
  writeFileSync(`${run.source}/large`, content);
  const full = await run.waitUntil(({ reasons }) => {
    return reasons.some(({ code }) => code === "REPLICA_FULL");
  });
  assert.equal(full.protected, false);
  const flush = run.command("flush", "--timeout", "0.5");
  assert.equal(flush.code, 1);
  assert.match(flush.stderr, /disk is full/);
  writeFileSync(`${run.source}/small`, "the application goes on");
  spawnSync("mount", ["-o", "remount,size=64M", run.replica]);
  await run.waitUntil((status) => status.protected);
  assert.equal(run.command("flush").code, 0);
  // A replica that is a mount point has no room beside it for the applier's own folder.
  const differences = compareTrees(run.source, run.replica);
  assert.deepEqual(
    differences.filter((line) => !line.startsWith("/.standin:")),
    [],
  );
});

test("status of a stopped instance says so", { skip }, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  await mirrored(run);
  assert.equal(await run.stop(), 0);
  const status = run.status();
  assert.equal(status.state, "stopped");
  assert.equal(status.protected, false);
  const flush = run.command("flush");
  assert.equal(flush.code, 1);
  assert.match(flush.stderr, /no agent listens[\s\S]*standin local/);
});
