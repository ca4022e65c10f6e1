/**
 * What a target and its surroundings can do to a job between servers: each a clear word, and
 * nothing lost. STANDIN_AWAY_OPS: changes while a target is away (360,000: 100 a second for an
 * hour).
 */
import assert from "node:assert/strict";
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import type { SourceStatus } from "../../src/agent/jobs/job-status.ts";
import { identify } from "../../src/platform/processes.ts";
import { until } from "../support/agent-run.ts";
import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { readOpAccount } from "../support/op-account.ts";
import { ScratchDisk } from "../support/scratch-disk.ts";
import { withClock } from "../support/shifted-clock.ts";
import { Servers } from "../support/two-servers.ts";

const skip = skipUnless("root", "fuse", "fuse-resend", "loop-devices", "command:mkfs.ext4");
const AWAY_OPS = Number(process.env.STANDIN_AWAY_OPS ?? 40_000);
const timeout = 300_000 + AWAY_OPS;
const DISK_BYTES = 160 << 20;
const HOUR_MS = 3_600_000;
/** An application must never wait longer than this for the copying side. */
const LONGEST_WAIT_MS = 1000;

/** With the state of the target and its replica on a small disk. */
async function onSmallDisk(t: TestContext): Promise<{ servers: Servers; disk: ScratchDisk }> {
  const made: { servers?: Servers } = {};
  const disk = new ScratchDisk(DISK_BYTES);
  t.after(async () => {
    made.servers?.clear();
    await made.servers?.target.ended();
    disk.remove();
  });
  made.servers = await Servers.start(t, 2, { targetState: `${disk.path}/state` });
  return { servers: made.servers, disk };
}

async function untilReason(servers: Servers, reason: RegExp): Promise<SourceStatus> {
  return await until(
    () => {
      const status = servers.status();
      const [{ reasons } = { reasons: [] }] = status.targets;
      return reasons.some(({ message }) => reason.test(message)) ? status : undefined;
    },
    () => JSON.stringify([servers.status(), servers.target.log.slice(-10)]),
    60_000,
  );
}

/** All of it came by the stream: nothing had to be compared. */
function checkCopy(servers: Servers): void {
  servers.flush();
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), []);
  const { passes, gaps, diverged } = readOpAccount(servers.shmOf("replicas"));
  const firstPasses = servers.firstPasses();
  assert.deepEqual({ passes, gaps, diverged }, { passes: firstPasses, gaps: 0, diverged: 0 });
}

test("a target's disk that fills during the first copy is told, and it goes on by itself", {
  skip,
  timeout,
}, async (t) => {
  const { servers, disk } = await onSmallDisk(t);
  const { folder } = servers;
  for (let i = 0; i < 40; i++) writeFileSync(join(folder, `large-${i}`), randomBytes(1 << 20));
  disk.leaveFree(24 << 20);
  servers.source.json("protect", folder, "--name", "data", "--to", "s1");
  const full = await untilReason(servers, /disk is full/);
  assert.equal(full.protected, false);
  writeFileSync(join(folder, "large-0"), "the application goes on");
  renameSync(join(folder, "large-1"), join(folder, "renamed"));
  rmSync(join(folder, "large-2"));
  // Even now nothing is lost with them.
  servers.target.kill();
  await servers.target.ended();
  await servers.target.start();
  await untilReason(servers, /disk is full/);
  disk.giveRoom();
  await servers.untilProtected();
  checkCopy(servers);
});

test("a target's disk that fills during replication holds changes in order, and loses none", {
  skip,
  timeout,
}, async (t) => {
  const { servers, disk } = await onSmallDisk(t);
  const { folder } = servers;
  await servers.protect();
  disk.leaveFree(10 << 20);
  for (let i = 0; i < 14; i++) {
    writeFileSync(join(folder, `large-${i}`), randomBytes(1 << 20));
    renameSync(join(folder, `large-${i}`), join(folder, `moved-${i}`));
    mkdirSync(join(folder, `folder-${i}`));
    if (i % 3 === 0) rmSync(join(folder, `moved-${i}`));
  }
  const full = await untilReason(servers, /disk is full/);
  assert.equal(full.protected, false);
  const flush = servers.source.command("flush", "data", "--timeout", "1");
  assert.equal(flush.code, 1);
  assert.match(flush.stderr, /disk is full/);
  writeFileSync(join(folder, "small"), "the application goes on");
  servers.target.kill();
  await servers.target.ended();
  await servers.target.start();
  disk.giveRoom();
  await servers.untilProtected();
  checkCopy(servers);
});

test(`a target that is away for ${AWAY_OPS} changes gets each of them by the stream`, {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t);
  await servers.protect("--ring", "64M");
  await servers.target.stop();
  const files = Array.from({ length: 50 }, (_, i) => openSync(join(servers.folder, `f${i}`), "w"));
  const before = servers.status().lsn;
  let longestMs = 0;
  for (let i = 0; i < AWAY_OPS; i++) {
    const startMs = performance.now();
    const fd = files[i % files.length] ?? 0;
    writeSync(fd, Buffer.alloc(1024, i), 0, 1024, (i * 512) % 100_000);
    longestMs = Math.max(longestMs, performance.now() - startMs);
  }
  for (const fd of files) closeSync(fd);
  const away = await untilReason(servers, /not connected/);
  assert.equal(away.protected, false);
  assert.ok(away.lsn - before >= AWAY_OPS);
  t.diagnostic(`longest write ${Math.round(longestMs)} ms, spilled ${away.spilledBytes} bytes`);
  assert.ok(longestMs < LONGEST_WAIT_MS, `a write took ${longestMs} ms`);
  await servers.untilSpilled();
  const startMs = performance.now();
  await servers.target.start();
  checkCopy(servers);
  t.diagnostic(`caught up in ${Math.round(performance.now() - startMs)} ms`);
});

for (const [what, aheadMs] of [
  ["ahead of", HOUR_MS],
  ["behind", -HOUR_MS],
] as const) {
  test(`a target whose clock is an hour ${what} the source's is like any other`, {
    skip,
    timeout,
  }, async (t) => {
    const servers = await Servers.start(t, 2, { targetPrefix: withClock(aheadMs) });
    writeFileSync(join(servers.folder, "before"), "before");
    await servers.protect();
    const file = join(servers.folder, "file");
    writeFileSync(file, "written");
    utimesSync(file, 1_234_567, 7_654_321);
    const { time } = await servers.target.waitFor("ready");
    const apartMs = Date.parse(String(time)) - Date.now();
    assert.ok(Math.abs(apartMs - aheadMs) < HOUR_MS / 2, `it has that clock: ${apartMs} ms`);
    checkCopy(servers);
    assert.equal(statSync(join(servers.replica(), "file")).mtimeMs, 7_654_321_000);
    assert.equal(servers.status().protected, true);
    // Also from its checkpoint, which says when it was made.
    await servers.target.stop();
    servers.loseTargetMemory();
    writeFileSync(file, "written meanwhile");
    rmSync(join(servers.folder, "before"));
    await servers.target.start();
    checkCopy(servers);
    const told = [...servers.source.history, ...servers.target.history];
    assert.deepEqual(
      told.filter(({ message }) => /certificate|clock|expired/i.test(String(message))),
      [],
    );
  });
}

test("an applier that no agent knows of is ended by the next one", { skip, timeout }, async (t) => {
  const servers = await Servers.start(t);
  await servers.protect();
  const old = servers.applier();
  servers.target.kill();
  await servers.target.ended();
  // As if the agent had been killed before it could note what it had started.
  const record = join(servers.target.state, "replicas", servers.status().id, "record.json");
  const noted = JSON.parse(readFileSync(record, "utf8")) as Record<string, unknown>;
  writeFileSync(record, JSON.stringify({ ...noted, applier: null }));
  await servers.target.start();
  writeFileSync(join(servers.folder, "file"), "applied once");
  checkCopy(servers);
  assert.equal(identify(old), undefined);
});

test("a target that is removed from the fleet gets nothing more, as status says", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t);
  await servers.protect();
  writeFileSync(join(servers.folder, "file"), "before");
  servers.flush();
  const replica = servers.replica();
  servers.source.json("remove", "s1");
  writeFileSync(join(servers.folder, "file"), "after it was removed");
  const status = await untilReason(servers, /removed from the fleet/);
  assert.equal(status.protected, false);
  assert.equal(readFileSync(join(replica, "file"), "utf8"), "before", "it keeps what it had");
  assert.equal(readFileSync(join(servers.folder, "file"), "utf8"), "after it was removed");
});

test("changes that cannot be sent are told, and a new engine has them sent", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t);
  await servers.protect();
  // As if a writer had stopped between taking its number and showing its record.
  servers.takeLsn("jobs");
  writeFileSync(join(servers.folder, "file"), "behind the hole");
  const status = await untilReason(servers, /nothing was applied for \d+ s/);
  assert.equal(status.protected, false);
  const flush = servers.source.command("flush", "data", "--timeout", "1");
  assert.equal(flush.code, 1);
  assert.match(flush.stderr, /nothing was applied/);
  await servers.replaceEngine();
  checkCopy(servers);
  assert.equal(servers.status().protected, true);
});

test("a target whose agent was killed within an op applies it", { skip, timeout }, async (t) => {
  const servers = await Servers.start(t);
  await servers.protect();
  servers.target.kill();
  await servers.target.ended();
  servers.takeLsn("replicas");
  writeFileSync(join(servers.folder, "file"), "the op with that number");
  await servers.target.start();
  checkCopy(servers);
});
