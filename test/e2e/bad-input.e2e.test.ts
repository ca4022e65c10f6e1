/** What an operator or a machine can do to an instance: each a clear word, and nothing lost. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { StateDirectory, sharedMemoryDirectory } from "../../src/agent/state-directory.ts";
import { mountFuse, openFuseDevice, unmountFuse } from "../../src/fuse/mount.ts";
import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { deepFile, makeDeepFile } from "../support/deep-path.ts";
import { LocalRun } from "../support/local-run.ts";
import { ScratchDisk } from "../support/scratch-disk.ts";
import { bounded, withoutFuseDevice } from "../support/surroundings.ts";

const MAIN = join(import.meta.dirname, "../../src/main.ts");
const skip = skipUnless("root", "fuse", "fuse-resend", "loop-devices");

/** An application must never wait longer than this for the copying side. */
const LONGEST_WAIT_MS = 1000;

function startRun(t: TestContext): LocalRun {
  const run = new LocalRun();
  t.after(() => run.clear());
  return run;
}

async function mirrored(run: LocalRun, ...options: string[]): Promise<void> {
  for (let at = 0; at < 20; at++) writeFileSync(`${run.source}/${at}`, `file ${at}\n`);
  run.start(...options);
  await run.waitFor("mirrored", 60_000);
}

function flushed(run: LocalRun): void {
  const { code, stderr } = run.command("flush", "--timeout", "40");
  assert.equal(code, 0, stderr);
  assert.deepEqual(compareTrees(run.source, realpathSync(run.replica)), []);
}

async function refused(run: LocalRun, code: string, message: RegExp): Promise<void> {
  run.start();
  assert.equal(await run.ended(), 1);
  assert.equal(run.event("error")?.code, code, run.stderr);
  assert.match(run.stderr, message);
  assert.equal(run.isMounted(), false);
}

/** Puts the copy on a small file system of its own, all but `freeBytes` of it taken. */
function useSmallDisk(t: TestContext, run: LocalRun, freeBytes: number): ScratchDisk {
  const disk = new ScratchDisk(96 << 20);
  t.after(() => disk.remove());
  rmdirSync(run.replica);
  mkdirSync(`${disk.path}/copy`);
  symlinkSync(`${disk.path}/copy`, run.replica);
  disk.leaveFree(freeBytes);
  return disk;
}

/** Puts the source into memory, so that no other user of the disk makes its writes slow. */
function useMemory(run: LocalRun): void {
  const { status, stderr } = bounded("mount", "-t", "tmpfs", "tmpfs", run.source);
  assert.equal(status, 0, stderr);
}

function has(code: string) {
  return ({ reasons }: { reasons: readonly { code: string }[] }) =>
    reasons.some((reason) => reason.code === code);
}

test("a source that cannot be read is refused with the reason", { skip }, async (t) => {
  const run = startRun(t);
  rmdirSync(run.source);
  await refused(run, "NO_SOURCE", /ENOENT[\s\S]*existing directory/);
  writeFileSync(run.source, "a file");
  await refused(run, "NOT_A_DIRECTORY", /not a directory/);
  assert.equal(readFileSync(run.source, "utf8"), "a file");
});

test("a source whose file system answers nothing is refused", { skip }, async (t) => {
  const run = startRun(t);
  const fd = openFuseDevice();
  const rootMode = statSync(run.source).mode;
  mountFuse(fd, run.source, { name: "gone", subtype: "gone", rootMode, nosuid: true, nodev: true });
  t.after(() => unmountFuse(run.source, { lazy: true }));
  closeSync(fd); // as if its server had been killed
  run.start();
  assert.equal(await run.ended(), 1);
  assert.equal(run.event("error")?.code, "NO_SOURCE", run.stderr);
  assert.match(run.stderr, /ENOTCONN/);
});

test("a machine without /dev/fuse is told what to do", { skip }, async (t) => {
  const run = startRun(t);
  run.wrapper = withoutFuseDevice(run.folder);
  await refused(run, "NO_FUSE", /no \/dev\/fuse[\s\S]*modprobe fuse/);
});

test("a disk that fills during the first copy holds it, and it goes on by itself", {
  skip,
}, async (t) => {
  const run = startRun(t);
  const disk = useSmallDisk(t, run, 12 << 20);
  for (let at = 0; at < 30; at++) writeFileSync(`${run.source}/large-${at}`, randomBytes(1 << 20));
  run.start();
  await run.waitFor("mounted");
  const full = await run.waitUntil(has("REPLICA_FULL"), 60_000);
  assert.equal(full.state, "mirroring");
  assert.equal(full.protected, false);
  assert.ok(has("NOT_MIRRORED")(full));
  appendFileSync(`${run.source}/large-0`, "the application goes on");
  renameSync(`${run.source}/large-1`, `${run.source}/renamed`);
  rmSync(`${run.source}/large-2`);
  run.kill("applier"); // even now it loses nothing
  await run.waitUntil(has("REPLICA_FULL"), 60_000);
  assert.equal(run.event("mirrored"), undefined);
  disk.giveRoom();
  await run.waitFor("mirrored", 60_000);
  await run.waitUntil((status) => status.protected);
  flushed(run);
});

test("a disk that fills during replication holds changes in order, and loses none", {
  skip,
}, async (t) => {
  const run = startRun(t);
  const disk = useSmallDisk(t, run, 8 << 20);
  await mirrored(run);
  for (let at = 0; at < 12; at++) {
    writeFileSync(`${run.source}/large-${at}`, randomBytes(1 << 20));
    renameSync(`${run.source}/large-${at}`, `${run.source}/moved-${at}`);
    mkdirSync(`${run.source}/folder-${at}`);
    if (at % 3 === 0) rmSync(`${run.source}/moved-${at}`);
  }
  const full = await run.waitUntil(has("REPLICA_FULL"));
  assert.equal(full.protected, false);
  assert.ok(full.lag.ops > 0);
  const flush = run.command("flush", "--timeout", "0.5");
  assert.equal(flush.code, 1);
  assert.match(flush.stderr, /disk is full/);
  disk.giveRoom();
  const after = await run.waitUntil((status) => status.protected, 60_000);
  assert.equal(after.queue.gaps, 0, "no change was given up");
  flushed(run);
  assert.equal(await run.stop(), 0);
  assert.deepEqual(compareTrees(run.source, realpathSync(run.replica)), []);
});

test("a disk that stays full costs the copy a resync, and the application nothing", {
  skip,
}, async (t) => {
  const run = startRun(t);
  useMemory(run);
  const disk = useSmallDisk(t, run, 4 << 20);
  await mirrored(run, "--ring", "32M", "--workers", "4");
  const longestMs = await writeBurst(run, 48 << 20);
  t.diagnostic(`longest write ${Math.round(longestMs)} ms`);
  assert.ok(longestMs < LONGEST_WAIT_MS, `a write took ${longestMs} ms`);
  const status = run.status();
  assert.equal(status.protected, false);
  assert.ok(has("REPLICA_FULL")(status), JSON.stringify(status.reasons));
  assert.ok(has("GAP")(status) || has("RESYNC_DUE")(status), JSON.stringify(status.reasons));
  disk.giveRoom();
  const after = await run.waitUntil((s) => s.protected, 90_000);
  assert.ok(after.queue.gaps > 0);
  flushed(run);
});

/** Writes as fast as it can over a file of 16 MiB; the longest time that one write took. */
async function writeBurst(run: LocalRun, bytes: number): Promise<number> {
  const fd = openSync(`${run.source}/burst`, "w");
  const block = randomBytes(64 << 10);
  let longestMs = 0;
  for (let at = 0; at < bytes; at += block.length) {
    const startMs = performance.now();
    writeSync(fd, block, 0, block.length, at % (16 << 20));
    longestMs = Math.max(longestMs, performance.now() - startMs);
    if (at % (1 << 20) === 0) await sleep(0);
  }
  closeSync(fd);
  return longestMs;
}

test("a burst beyond the ring is a gap that is said and mended by itself", {
  skip,
}, async (t) => {
  const run = startRun(t);
  useMemory(run);
  await mirrored(run, "--ring", "32M", "--workers", "4");
  assert.equal(run.command("pause").code, 0);
  const longestMs = await writeBurst(run, 64 << 20);
  t.diagnostic(`longest write ${Math.round(longestMs)} ms`);
  assert.ok(longestMs < LONGEST_WAIT_MS, `a write took ${longestMs} ms`);
  for (let at = 0; at < 10; at++) renameSync(`${run.source}/${at}`, `${run.source}/late-${at}`);
  const gap = run.status();
  assert.equal(gap.protected, false);
  assert.ok(gap.queue.gaps > 0 && gap.queue.opsLost > 0);
  assert.match(JSON.stringify(gap.reasons), /changes were not captured, a resync follows/);
  // A flush that waits already: it may not settle for what was captured.
  const flush = flushInBackground(run);
  await sleep(1500);
  assert.equal(run.command("resume").code, 0);
  assert.equal(await flush, 0);
  assert.deepEqual(compareTrees(run.source, run.replica), []);
  await run.waitUntil((status) => status.protected, 60_000);
  flushed(run);
});

/** @returns the exit code, when it ends. */
function flushInBackground(run: LocalRun): Promise<number | null> {
  const args = [MAIN, "flush", "--timeout", "60", "--state", run.state];
  const child = spawn(process.execPath, args, { stdio: "ignore" });
  return new Promise((resolve) => child.once("exit", resolve));
}

test("a ring that is too small to work is refused with the size that would do", {
  skip,
}, async (t) => {
  const run = startRun(t);
  const { code, stderr } = run.command(
    ...["local", run.source, run.replica, "--state", run.state, "--ring", "1M"],
  );
  assert.equal(code, 1);
  assert.match(stderr, /too small[\s\S]*at least \d+/);
  assert.equal(run.isMounted(), false);
  const { id } = StateDirectory.open(run.state);
  assert.equal(existsSync(sharedMemoryDirectory(id)), false, "no memory is left behind");
});

test("on a kernel without resend a killed engine is a clean remount, and said before", {
  skip,
}, async (t) => {
  const run = startRun(t);
  run.wrapper = ["setarch", "x86_64", "--uname-2.6"];
  await mirrored(run);
  assert.match(JSON.stringify(run.event("warning")), /NO_RESEND.*cannot repeat requests/);
  const held = openSync(`${run.source}/held`, "w");
  writeSync(held, "before");
  run.kill("engine");
  await run.waitFor("lost");
  assert.throws(() => writeSync(held, "after"), { code: /ENOTCONN|ECONNABORTED|EIO/ });
  closeSync(held);
  await run.waitUntil((status) => status.protected, 60_000);
  writeFileSync(`${run.source}/after`, "captured again");
  flushed(run);
  assert.equal(readFileSync(`${run.replica}/held`, "utf8"), "before");
  assert.equal(await run.stop(), 0);
});

test("somebody else's umount of an idle folder is said, and mended", { skip }, async (t) => {
  const run = startRun(t);
  await mirrored(run);
  assert.equal(bounded("umount", run.source).status, 0);
  await run.waitFor("lost");
  await run.waitUntil((status) => status.protected, 60_000);
  assert.equal(run.isMounted(), true);
  writeFileSync(`${run.source}/after`, "captured again");
  flushed(run);
});

test("somebody else's umount of a folder in use fails, and changes nothing", {
  skip,
}, async (t) => {
  const run = startRun(t);
  await mirrored(run);
  const held = openSync(`${run.source}/held`, "w");
  t.after(() => closeSync(held));
  assert.notEqual(bounded("umount", run.source).status, 0);
  writeSync(held, "still captured");
  await sleep(500);
  assert.equal(run.event("lost"), undefined);
  assert.equal(run.status().protected, true);
  flushed(run);
});

test("somebody else's umount -l of a folder in use is said, and mended, and harms no user", {
  skip,
}, async (t) => {
  const run = startRun(t);
  await mirrored(run);
  const held = openSync(`${run.source}/held`, "w");
  t.after(() => closeSync(held));
  writeSync(held, "before ");
  assert.equal(bounded("umount", "-l", run.source).status, 0);
  writeFileSync(`${run.source}/meanwhile`, "perhaps beneath the mount");
  writeSync(held, "meanwhile ");
  await run.waitFor("lost", 10_000);
  await run.waitUntil((status) => status.protected, 60_000);
  assert.equal(run.isMounted(), true);
  writeSync(held, "after");
  writeFileSync(`${run.source}/after`, "captured again");
  flushed(run);
  assert.equal(readFileSync(`${run.replica}/held`, "utf8"), "before meanwhile after");
});

test("names that are not UTF-8 and paths of 4,095 bytes are copied like any other", {
  skip,
}, async (t) => {
  const run = startRun(t);
  const name = (text: string) => Buffer.from(`${run.source}/${text}`, "latin1");
  writeFileSync(name("mirrored-\xff\xfe\n"), "before the mirror");
  mkdirSync(name("folder-\xe4"));
  makeDeepFile(run.source, "mirrored", "at the bottom");
  await mirrored(run);
  writeFileSync(name("live-\x80\x01"), "live");
  renameSync(name("mirrored-\xff\xfe\n"), name("folder-\xe4/renamed-\xc3"));
  const deepest = deepFile(run.source, "live");
  assert.equal(deepest.length, 4095);
  makeDeepFile(run.source, "live", "at the bottom too");
  appendFileSync(deepest, ", appended");
  flushed(run);
  const damaged = Buffer.from(`${run.replica}/folder-\xe4/renamed-\xc3`, "latin1");
  writeFileSync(damaged, "BEFORE the mirror");
  const verified = run.command("verify", "--json");
  assert.equal(JSON.parse(verified.stdout).different, 1, verified.stderr);
  assert.equal(run.command("verify", "--repair").code, 0);
  flushed(run);
  assert.equal(await run.stop(), 0);
  assert.deepEqual(compareTrees(run.source, run.replica), []);
});
