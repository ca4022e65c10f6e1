/**
 * Several paths in one job: what is written to them in turns is on the replicas in that order,
 * whatever is killed; and all of them are verified, promoted and given back together.
 *
 * STANDIN_CUTS: how often the source is killed (2 by default), STANDIN_KILLS: how often engines and
 * agents are (6), STANDIN_SEED.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Prng } from "../../src/base/prng.ts";
import { until } from "../support/agent-run.ts";
import { assertNotBehind, assertOneOrder, counterIn } from "../support/alternating-order.ts";
import { Application } from "../support/application.ts";
import { skipUnless } from "../support/capabilities.ts";
import { killQuietly } from "../support/kill-users.ts";
import { cutPlan } from "../support/cut-plan.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { Servers } from "../support/two-servers.ts";

const skip = skipUnless("root", "fuse", "fuse-resend");
const { cuts, seed, timeoutMs } = cutPlan();
const KILLS = Number(process.env.STANDIN_KILLS ?? 6);
const timeout = 240_000 + KILLS * 15_000;
const WRITER = join(import.meta.dirname, "../support/alternating-writer.ts");

/** `source` and `other/source`, whose replicas' folders need a suffix. */
async function twoPaths(t: TestContext): Promise<{ servers: Servers; a: string; b: string }> {
  const servers = await Servers.start(t);
  const b = servers.addFolder("other/source");
  return { servers, a: servers.folder, b };
}

function assertEqual(servers: Servers): void {
  for (const folder of servers.folders) {
    const replica = servers.replica(servers.target, folder);
    assert.deepEqual(compareTrees(folder, replica), [], folder);
  }
}

test("two paths are mirrored and kept, verified, and given back", {
  skip,
  timeout,
}, async (t) => {
  const { servers, a, b } = await twoPaths(t);
  for (const folder of [a, b]) {
    mkdirSync(join(folder, "cache"));
    mkdirSync(join(folder, "same/name"), { recursive: true });
    writeFileSync(join(folder, "same/name/file"), `before, in ${folder}`.repeat(30_000));
    writeFileSync(join(folder, "cache/left-out"), "");
  }
  await servers.protect("--exclude", "/cache");
  const { folders } = servers.replicaStatus();
  assert.deepEqual(
    folders.map(({ path, replica, state }) => [path, replica.split("/").at(-1), state]),
    [
      [a, "source", "complete"],
      [b, "source-2", "complete"],
    ],
  );
  for (const folder of [a, b]) {
    rmSync(join(folder, "cache"), { recursive: true });
    writeFileSync(join(folder, "same/live"), `live, in ${folder}`);
  }
  servers.flush();
  assertEqual(servers);
  assert.deepEqual(
    servers.status().folders.map(({ state }) => state),
    ["captured", "captured"],
  );
  const planted = join(servers.replica(servers.target, b), "same/name/file");
  writeFileSync(planted, "somebody wrote here");
  const found = servers.source.command("verify", "data");
  assert.equal(found.code, 1, "verify finds it");
  assert.match(found.stdout, new RegExp(`${b}/same/name/file: .*size`));
  assert.equal(servers.source.command("verify", "data", "--repair").code, 0);
  servers.flush();
  assertEqual(servers);
  assert.equal(servers.source.command("unprotect", "data").code, 0);
  await servers.untilUnmounted();
  for (const folder of [a, b]) {
    assert.equal(readFileSync(join(folder, "same/live"), "utf8"), `live, in ${folder}`);
  }
});

/** What was received is in the replicas. */
async function untilApplied(servers: Servers): Promise<void> {
  const isApplied = () => {
    const { isConnected, durableLsn, receivedLsn, appliedLsn } = servers.replicaStatus();
    return !isConnected && appliedLsn === receivedLsn && durableLsn === receivedLsn;
  };
  await until(
    () => isApplied() || undefined,
    () => JSON.stringify(servers.replicaStatus()),
    60_000,
  );
}

test(`writes to two paths in turns, the source killed ${cuts} times (seed ${seed})`, {
  skip,
  timeout: timeoutMs + 120_000,
}, async (t) => {
  const { servers } = await twoPaths(t);
  await servers.protect();
  const replicas = servers.folders.map((folder) => servers.replica(servers.target, folder));
  for (let cut = 0; cut < cuts; cut++) {
    const prng = new Prng(seed + cut);
    const [inA = "", inB = ""] = servers.folders.map((at) => `${at}/${cut}`);
    const [copyA = "", copyB = ""] = replicas.map((at) => `${at}/${cut}`);
    const writer = spawn(process.execPath, [WRITER, inA, inB], { stdio: "ignore" });
    t.after(() => writer.kill("SIGKILL"));
    await until(
      () => counterIn(copyB) > 0 || undefined,
      () => `nothing comes: ${JSON.stringify(servers.status())}`,
    );
    const end = performance.now() + 100 + prng.int(2500);
    let looks = 0;
    for (; performance.now() < end; looks++) {
      assertNotBehind(copyA, copyB);
      await sleep(prng.int(20));
    }
    servers.killSource();
    writer.kill("SIGKILL");
    await untilApplied(servers);
    const reached = assertOneOrder(copyA, copyB);
    t.diagnostic(`cut ${cut + 1}: ${reached} numbers; ${looks} looks before`);
    await servers.source.start();
    servers.flush();
    assertEqual(servers);
  }
});

/** The process that serves the mounts of the source's only job. */
function enginePid(servers: Servers): number {
  const jobs = `${servers.source.state}/jobs`;
  const events = readFileSync(`${jobs}/${readdirSync(jobs)[0]}/keeper.events`, "utf8");
  const starts = events.split("\n").filter((line) => line.includes('"engine-started"'));
  return (JSON.parse(starts.at(-1) ?? "{}") as { pid: number }).pid;
}

test(`engines and agents are killed ${KILLS} times while two paths are used`, {
  skip,
  timeout,
}, async (t) => {
  const { servers, a, b } = await twoPaths(t);
  await servers.protect();
  const applications = [a, b, a, b].map((folder, i) => {
    return new Application(join(folder, `app-${i}`), seed + i, join(servers.home, `app-${i}.out`));
  });
  t.after(() => {
    for (const each of applications) each.kill();
  });
  for (const each of applications) await each.ready();
  const prng = new Prng(seed);
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(200 + prng.int(1500));
    // The engine at every other time, and one of the agents in between.
    if (kill % 2 === 0) {
      killQuietly(enginePid(servers));
      continue;
    }
    const agent = prng.int(2) === 0 ? servers.source : servers.target;
    agent.kill();
    await agent.ended();
    await sleep(prng.int(400));
    await agent.start();
  }
  const results = await Promise.all(applications.map((each) => each.stop()));
  servers.flush();
  const { lsn } = servers.status();
  const { appliedLsn, due } = servers.replicaStatus();
  assert.deepEqual({ appliedLsn, due }, { appliedLsn: lsn, due: "none" });
  assertEqual(servers);
  t.diagnostic(`${results.reduce((sum, { ops }) => sum + ops, 0)} operations, LSN ${lsn}`);
});

test("a target that lost its memory has both paths again, and a pause holds both", {
  skip,
  timeout,
}, async (t) => {
  const { servers, a, b } = await twoPaths(t);
  for (const folder of [a, b]) writeFileSync(join(folder, "moved"), `in ${folder}`);
  await servers.protect();
  await servers.target.stop();
  servers.loseTargetMemory();
  for (const folder of [a, b]) {
    rmSync(join(folder, "moved"));
    writeFileSync(join(folder, "file"), `meanwhile in ${folder}`);
  }
  await servers.target.start();
  servers.flush();
  assertEqual(servers);
  assert.equal(servers.source.command("pause", "data").code, 0);
  for (const folder of [a, b]) writeFileSync(join(folder, "paused"), "waits");
  assert.equal(servers.source.command("flush", "data", "--timeout", "2").code, 1);
  for (const folder of [a, b]) {
    assert.equal(existsSync(join(servers.replica(servers.target, folder), "paused")), false);
  }
  assert.equal(servers.source.command("resume", "data").code, 0);
  servers.flush();
  assertEqual(servers);
});

test("both are promoted, also when the agent is killed within, and the source stays down", {
  skip,
  timeout,
}, async (t) => {
  const { servers, a, b } = await twoPaths(t);
  const note = 'echo "$STANDIN_PATHS" >> "$STANDIN_PATH/started"';
  await servers.protect("--start-command", `${note}; sleep 5; touch "$STANDIN_PATH/ended"`);
  for (const folder of [a, b]) writeFileSync(join(folder, "mail"), `in ${folder}`);
  servers.flush();
  servers.killSource();
  const [atA, atB] = [join(servers.home, "new-a"), join(servers.home, "new/b")];
  const wrong = servers.target.command("promote", "data", "--at", `${a}=${atA}`);
  assert.match(wrong.stderr, /is not empty/, "the other one would go where its source is");
  const where = ["--at", `${a}=${atA}`, "--at", `${b}=${atB}`];
  await servers.promoteWithKill(join(atA, "started"), ...where);
  assert.equal(readFileSync(join(atA, "started"), "utf8"), `${atA}\n${atB}\n`.repeat(2));
  assert.equal(existsSync(join(atA, "ended")), true);
  const check = () => {
    assert.equal(readFileSync(join(atA, "mail"), "utf8"), `in ${a}`);
    assert.equal(readFileSync(join(atB, "mail"), "utf8"), `in ${b}`);
    const jobs = servers.target.json("jobs").jobs as { role: string; folders: object[] }[];
    const captured = jobs.filter(({ role }) => role === "source");
    assert.equal(captured.length, 1, "one job captures both");
    const states = captured[0]?.folders as { path: string; state: string }[];
    assert.deepEqual(
      states.map(({ path, state }) => [path, state]),
      [
        [atA, "captured"],
        [atB, "captured"],
      ],
    );
  };
  check();
  await servers.source.start();
  await servers.untilUnmounted();
  assert.match(JSON.stringify(servers.source.json("jobs")), /promoted on another server/);
  await servers.target.stop();
  await servers.target.start();
  check();
});

test("a source that still runs gives both paths up when they are promoted to one folder", {
  skip,
  timeout,
}, async (t) => {
  const { servers, a, b } = await twoPaths(t);
  await servers.protect();
  for (const folder of [a, b]) writeFileSync(join(folder, "mail"), `in ${folder}`);
  servers.flush();
  const at = join(servers.home, "promoted");
  const { paths } = servers.target.json("promote", "data", "--at", at);
  assert.deepEqual(paths, [`${at}/source`, `${at}/source-2`]);
  await servers.untilUnmounted();
  const { reasons, folders } = servers.status();
  assert.deepEqual(
    [...reasons.map(({ code }) => code), ...folders.map(({ state }) => state)],
    ["FENCED", "given up", "given up"],
  );
  assert.equal(readFileSync(`${at}/source/mail`, "utf8"), `in ${a}`);
  assert.equal(readFileSync(`${at}/source-2/mail`, "utf8"), `in ${b}`);
});

test("one of two paths is unmounted by somebody: it comes back, and the other is not disturbed", {
  skip,
  timeout,
}, async (t) => {
  const { servers, a, b } = await twoPaths(t);
  await servers.protect();
  const used = new Application(join(a, "app"), seed, join(servers.home, "app.out"));
  t.after(() => used.kill());
  await used.ready();
  const unmounting = spawn("umount", [b], { stdio: "ignore" });
  await new Promise((resolve) => unmounting.once("exit", resolve));
  writeFileSync(join(b, "missed"), "written at some moment about it");
  await until(
    () => servers.isMounted() || undefined,
    () => JSON.stringify(servers.status()),
  );
  writeFileSync(join(b, "captured"), "written after it");
  await sleep(4000);
  killQuietly(enginePid(servers));
  writeFileSync(join(b, "again"), "written after the death of an engine");
  await used.stop();
  servers.flush();
  assertEqual(servers);
});

test("paths that overlap, too many of them, and replicas are refused", {
  skip,
  timeout,
}, async (t) => {
  const { servers, a, b } = await twoPaths(t);
  mkdirSync(join(a, "below"));
  const refused = (pattern: RegExp, ...paths: string[]) => {
    const ended = servers.source.command("protect", ...paths, "--name", "new", "--to", "s1");
    assert.equal(ended.code, 1, paths.join(" "));
    assert.match(ended.stderr, pattern);
    assert.deepEqual(servers.source.json("jobs").jobs, [], "nothing is left of it");
  };
  refused(/hold the same files/, a, join(a, "below"));
  refused(/hold the same files/, a, b, `${a}/`);
  const nine = Array.from({ length: 9 }, (_, i) => join(servers.home, `many-${i}`));
  for (const path of nine) mkdirSync(path);
  refused(/8 folders at most/, ...nine);
  await servers.protect();
  const again = servers.source.command("protect", nine[0] ?? "", b, "--name", "x", "--to", "s1");
  assert.match(again.stderr, /is already protected: .*other\/source is, by job data/);
  const chain = ["protect", servers.replica(servers.target, b), "--name", "x", "--to", "s0"];
  assert.match(servers.target.command(...chain).stderr, /a replica cannot be sent on/);
  assert.equal(servers.isMounted(), true);
  servers.source.json("protect", ...nine.slice(1), "--name", "eight", "--to", "s1");
  for (const path of nine.slice(1)) writeFileSync(join(path, "file"), path);
  servers.source.json("flush", "eight", "--timeout", "90");
  servers.source.json("unprotect", "eight");
  for (const path of nine.slice(1)) assert.equal(readFileSync(join(path, "file"), "utf8"), path);
});
