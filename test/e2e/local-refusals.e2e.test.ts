import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { test } from "node:test";

import { skipUnless } from "../support/capabilities.ts";
import { LocalRun } from "../support/local-run.ts";

const skip = skipUnless("root", "fuse");

async function refused(run: LocalRun, code: string): Promise<string> {
  run.start();
  assert.equal(await run.ended(), 1);
  assert.equal(run.event("error")?.code, code, run.stderr);
  assert.equal(run.isMounted(), false);
  return run.stderr;
}

test("standin local names processes with files open for writing, and refuses", {
  skip,
}, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  const user = spawn("sh", ["-c", 'exec 5>>"$1/held"; echo ready; sleep 60', "sh", run.source]);
  t.after(() => user.kill("SIGKILL"));
  await new Promise((resolve) => user.stdout.once("data", resolve));
  const stderr = await refused(run, "OPEN_FILES");
  assert.match(stderr, new RegExp(`pid ${user.pid}.*/held open for writing`));
  run.start("--allow-open-files");
  await run.waitFor("mirrored");
  assert.equal(run.event("warning")?.code, "OPEN_FILES");
  assert.equal(await run.stop(), 0);
});

test("standin local refuses a pattern that it does not understand", { skip }, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  run.start("--exclude", "[");
  assert.equal(await run.ended(), 1);
  assert.equal(run.event("error")?.code, "RULE_INVALID");
});

test("standin local refuses a second instance on one folder", { skip }, async (t) => {
  const first = new LocalRun();
  const second = new LocalRun();
  t.after(() => second.clear());
  t.after(() => first.clear());
  first.start();
  await first.waitFor("mounted");
  const same = first.command("local", first.source, first.replica, "--state", first.state);
  assert.equal(same.code, 1);
  assert.match(same.stderr, /already running/);
  const other = second.command("local", first.source, second.replica, "--state", second.state);
  assert.equal(other.code, 1);
  assert.match(other.stderr, /already protected/);
  assert.equal(await first.stop(), 0);
});

test("standin local refuses folders inside each other", { skip }, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  const inside = run.command("local", run.source, `${run.source}/copy`, "--state", run.state);
  assert.equal(inside.code, 1);
  assert.match(inside.stderr, /REPLICA lies inside SOURCE/);
  assert.deepEqual(readdirSync(run.source), [], "the refused start left nothing behind");
  mkdirSync(`${run.replica}/source`);
  const state = `${run.folder}/other-state`;
  const around = run.command("local", `${run.replica}/source`, run.replica, "--state", state);
  assert.equal(around.code, 1);
  assert.match(around.stderr, /SOURCE lies inside REPLICA/);
});

test("standin local names a mount below the source, and does not copy it", { skip }, async (t) => {
  const run = new LocalRun();
  mkdirSync(`${run.source}/nested`);
  spawnSync("mount", ["-t", "tmpfs", "tmpfs", `${run.source}/nested`]);
  t.after(async () => {
    await run.stop();
    spawnSync("umount", [`${run.source}/nested`]);
    await run.clear();
  });
  writeFileSync(`${run.source}/nested/file`, "not copied");
  run.start();
  await run.waitFor("mirrored");
  assert.match(String(run.event("warning")?.message), /not protected: .*\/nested/);
  assert.match(run.status().excluded[0]?.message ?? "", /nested/);
  assert.equal(await run.stop(), 0);
});
