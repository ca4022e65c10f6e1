import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  appendFileSync,
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { LocalRun } from "../support/local-run.ts";

const skip = skipUnless("root", "fuse", "fuse-resend");

/** A live protected folder with some files, mirrored. */
async function mirrored(run: LocalRun): Promise<void> {
  mkdirSync(`${run.source}/folder`);
  for (let at = 0; at < 50; at++) writeFileSync(`${run.source}/folder/${at}`, `file ${at}\n`);
  run.start();
  await run.waitFor("mirrored");
}

function change(run: LocalRun, round: number): void {
  appendFileSync(`${run.source}/log`, `round ${round}\n`);
  writeFileSync(`${run.source}/new-${round}`, "x".repeat(10_000));
  renameSync(`${run.source}/new-${round}`, `${run.source}/folder/renamed-${round}`);
  linkSync(`${run.source}/folder/renamed-${round}`, `${run.source}/link-${round}`);
  symlinkSync("folder", `${run.source}/symlink-${round}`);
  if (round > 0) rmSync(`${run.source}/folder/renamed-${round - 1}`);
}

function flushed(run: LocalRun): void {
  const { code, stderr } = run.command("flush", "--timeout", "20");
  assert.equal(code, 0, stderr);
  assert.deepEqual(compareTrees(run.source, run.replica), []);
}

/** Appends as fast as it can, each piece of work timed; any error fails the test. */
function startWriter(run: LocalRun): { stop(): Promise<number> } {
  const stopping = new AbortController();
  const fd = openSync(`${run.source}/steady`, "a");
  let longestMs = 0;
  const work = (async () => {
    for (let at = 0; !stopping.signal.aborted; at++) {
      const startMs = performance.now();
      writeSync(fd, `${at}\n`);
      writeFileSync(`${run.source}/folder/steady-${at % 20}`, String(at));
      longestMs = Math.max(longestMs, performance.now() - startMs);
      await sleep(5);
    }
    closeSync(fd);
    return longestMs;
  })();
  return {
    stop() {
      stopping.abort();
      return work;
    },
  };
}

test("standin local mirrors a folder whose many symlinks lead far", { skip }, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  mkdirSync(`${run.source}/farm`);
  // As package managers make them, and as long as they can be.
  for (let at = 0; at < 1500; at++) {
    const target = `../store/${"x".repeat(at % 3 === 0 ? 4000 : 150)}`;
    symlinkSync(target, `${run.source}/farm/${at}`);
  }
  run.start();
  await run.waitFor("mirrored");
  flushed(run);
});

test("standin local mirrors, replicates, flushes, verifies, and stops cleanly", {
  skip,
}, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  await mirrored(run);
  assert.deepEqual(
    run.lines.filter(({ event }) => event !== "status").map(({ event }) => event),
    ["mounted", "mirrored"],
  );
  for (let round = 0; round < 10; round++) change(run, round);
  flushed(run);
  const status = await run.waitUntil((s) => s.protected);
  assert.equal(status.state, "replicating");
  assert.deepEqual(
    status.processes.map(({ role }) => role),
    ["agent", "keeper", "engine", "applier"],
  );
  const verified = run.command("verify", "--json");
  assert.equal(verified.code, 0, verified.stderr);
  assert.equal(JSON.parse(verified.stdout).different, 0);
  assert.equal(await run.stop(), 0);
  assert.equal(run.event("stopped")?.drained, true);
  assert.equal(run.isMounted(), false);
  assert.deepEqual(compareTrees(run.source, run.replica), []);
});

test("the death of each process is not noticed by a writer", { skip }, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  await mirrored(run);
  const writer = startWriter(run);
  for (const role of ["engine", "applier", "keeper", "engine"] as const) {
    run.kill(role);
    await sleep(300);
    await run.waitUntil((s) => s.protected);
  }
  const longestMs = await writer.stop();
  t.diagnostic(`longest pause ${Math.round(longestMs)} ms`);
  flushed(run);
  const restarts = run.status().processes.map(({ role, restarts: count }) => [role, count]);
  assert.ok(restarts.every(([role, count]) => role === "agent" || Number(count) > 0));
});

test("a new agent goes on where a killed one stopped", { skip }, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  await mirrored(run);
  const writer = startWriter(run);
  const engine = run.pid("engine");
  run.kill("agent");
  await run.ended();
  const orphaned = run.status();
  assert.equal(orphaned.protected, false);
  assert.equal(orphaned.reasons[0]?.code, "AGENT_DOWN");
  run.start();
  assert.equal((await run.waitFor("mounted")).adopted, true);
  await run.waitUntil((s) => s.protected);
  assert.equal(run.pid("engine"), engine, "the engine was not disturbed");
  await writer.stop();
  flushed(run);
  assert.equal(await run.stop(), 0);
});

test("a lost mount is said, mounted again, and the copy repaired", { skip }, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  await mirrored(run);
  run.kill("keeper", "engine");
  await run.waitFor("lost");
  await run.waitUntil((s) => s.protected);
  writeFileSync(`${run.source}/after`, "captured again");
  flushed(run);
});

test("pause holds the copy, resume lets it go on", { skip }, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  await mirrored(run);
  assert.equal(run.command("pause").code, 0);
  writeFileSync(`${run.source}/while-paused`, "later");
  const paused = run.command("flush", "--timeout", "0.5");
  assert.equal(paused.code, 1);
  assert.match(paused.stderr, /paused[\s\S]*standin resume/);
  assert.equal(run.status().state, "paused");
  assert.equal(run.status().protected, false);
  assert.throws(() => readFileSync(`${run.replica}/while-paused`), { code: "ENOENT" });
  assert.equal(run.command("resume").code, 0);
  flushed(run);
});

test("verify finds what somebody changed in the copy, and repairs it", { skip }, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  await mirrored(run);
  writeFileSync(`${run.replica}/folder/7`, "FILE 7\n");
  const found = run.command("verify", "--json");
  assert.equal(found.code, 1, found.stderr);
  assert.equal(JSON.parse(found.stdout).different, 1);
  assert.equal(run.command("verify", "--repair").code, 0);
  flushed(run);
});

/** Writes to four files over and over, without a pause, until it is killed. */
const HOT_WRITER = `
  const { openSync, writeSync } = require("node:fs");
  const [folder] = process.argv.slice(1);
  const files = [0, 1, 2, 3].map((at) => openSync(folder + "/hot-" + at, "w"));
  for (let at = 0; ; at++) {
    writeSync(files[at % 4], String(at), 0);
    if (at === 100) console.log("writing");
  }
`;

test("verify finds nothing in files that are written all the while", { skip }, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  await mirrored(run);
  const writer = spawn(process.execPath, ["-e", HOT_WRITER, run.source]);
  t.after(() => writer.kill("SIGKILL"));
  await new Promise((resolve) => writer.stdout.once("data", resolve));
  for (let round = 0; round < 5; round++) {
    const verified = run.command("verify", "--json");
    assert.equal(verified.code, 0, verified.stdout + verified.stderr);
    const { files, different } = JSON.parse(verified.stdout);
    assert.ok(files >= 54, `${files} files were compared`);
    assert.equal(different, 0);
  }
  writer.kill("SIGKILL");
  await new Promise((resolve) => writer.once("close", resolve));
  flushed(run);
});

test("a folder in use is not torn away from those who use it", { skip }, async (t) => {
  const run = new LocalRun();
  t.after(() => run.clear());
  await mirrored(run);
  const script = 'exec 5>>"$1/held"; echo ready; while read line; do echo "$line" >&5; done';
  const user = spawn("sh", ["-c", script, "sh", run.source]);
  t.after(() => user.kill("SIGKILL"));
  await new Promise((resolve) => user.stdout.once("data", resolve));
  const stopped = run.stop();
  const busy = await run.waitFor("busy");
  assert.equal((busy.users as { pid: number }[])[0]?.pid, user.pid);
  user.stdin.write("written while stopping\n");
  await sleep(500);
  user.stdin.end();
  assert.equal(await stopped, 0);
  assert.equal(readFileSync(`${run.source}/held`, "utf8"), "written while stopping\n");
  assert.deepEqual(compareTrees(run.source, run.replica), []);
});
