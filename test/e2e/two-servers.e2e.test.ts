/**
 * Two servers, an agent each: what is written on one is on the other, whatever is killed; and when
 * the first one is lost, the second one takes over. Kills at random and cuts of the network are in
 * two-servers-kill.e2e.test.ts and network-cuts.e2e.test.ts.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { until } from "../support/agent-run.ts";
import { Application } from "../support/application.ts";
import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { Servers } from "../support/two-servers.ts";

const skip = skipUnless("root", "fuse", "fuse-resend");
const SEED = Number(process.env.STANDIN_SEED ?? 1);
const timeout = 240_000;

async function applicationsOn(t: TestContext, servers: Servers, count = 2): Promise<Application[]> {
  const applications = Array.from({ length: count }, (_, i) => {
    const log = join(servers.home, `app-${i}.out`);
    return new Application(join(servers.folder, `app-${i}`), SEED * 100 + i, log);
  });
  t.after(() => {
    for (const each of applications) each.kill();
  });
  for (const each of applications) await each.ready();
  return applications;
}

/** Two servers, and a file that is on both; `options`: of protect. */
async function withMail(t: TestContext, ...options: string[]): Promise<Servers> {
  const servers = await Servers.start(t);
  await servers.protect(...options);
  writeFileSync(join(servers.folder, "mail"), "the only copy");
  servers.flush();
  return servers;
}

/** As {@link withMail}; then the source is lost, and the target shows the folder at `at`. */
async function promoted(t: TestContext): Promise<{ servers: Servers; at: string }> {
  const servers = await withMail(t);
  servers.killSource();
  const at = join(servers.home, "promoted");
  servers.target.json("promote", "data", "--at", at);
  return { servers, at };
}

test("a folder in use is mirrored and kept, verified, and given back", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t);
  for (const name of ["one", "two"]) {
    mkdirSync(join(servers.folder, name));
    writeFileSync(join(servers.folder, name, "before"), name.repeat(100_000));
  }
  await servers.protect();
  const applications = await applicationsOn(t, servers);
  await sleep(2000);
  for (const each of applications) await each.stop();
  servers.flush();
  assert.equal(servers.status().protected, true);
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), []);
  writeFileSync(join(servers.replica(), "one/before"), "somebody wrote here");
  assert.equal(servers.source.command("verify", "data").code, 1, "verify finds it");
  assert.equal(servers.source.command("verify", "data", "--repair").code, 0);
  servers.flush();
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), []);
  assert.equal(servers.source.command("unprotect", "data").code, 0);
  assert.equal(servers.isMounted(), false);
  assert.equal(readFileSync(join(servers.folder, "two/before"), "utf8").length, 300_000);
});

test("a target that was away gets what it missed from the source's disk", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t);
  await servers.protect("--ring", "96M");
  await servers.target.stop();
  const block = Buffer.alloc(1 << 20);
  for (let i = 0; i < 200; i++) {
    block.fill(i);
    writeFileSync(join(servers.folder, `file-${i % 40}`), block);
  }
  assert.equal(servers.status().protected, false, "a target that is away protects nothing");
  await servers.untilSpilled();
  await servers.target.start();
  servers.flush();
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), []);
});

test("what nobody took is found, also in files that the target has never heard of", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t);
  await servers.protect("--ring", "64M");
  await servers.target.stop();
  // Without an agent nothing is moved to the disk: the ring becomes full.
  await servers.source.stop();
  for (let i = 0; i < 120; i++) {
    writeFileSync(join(servers.folder, `file-${i % 40}`), Buffer.alloc(1 << 20, i));
  }
  await servers.source.start();
  assert.ok(servers.status().reasons.some(({ code }) => code === "GAP"));
  await servers.target.start();
  servers.flush();
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), []);
});

test("a target that lost its memory compares, and is complete again", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t);
  await servers.protect();
  writeFileSync(join(servers.folder, "file"), "written before the reboot");
  servers.flush();
  await servers.target.stop();
  servers.loseTargetMemory();
  writeFileSync(join(servers.folder, "file"), "written meanwhile");
  await servers.target.start();
  servers.flush();
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), []);
});

test("one source, two targets: each gets all, and its own answers", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t, 3);
  for (let i = 0; i < 50; i++)
    writeFileSync(join(servers.folder, `before-${i}`), `${i}`.repeat(9000));
  await servers.protect();
  const applications = await applicationsOn(t, servers);
  await sleep(1500);
  for (const each of applications) await each.stop();
  servers.flush();
  for (const agent of servers.agents.slice(1)) {
    assert.deepEqual(compareTrees(servers.folder, servers.replica(agent)), []);
  }
});

test("the replica is promoted when the source is lost, and the source stays down", {
  skip,
  timeout,
}, async (t) => {
  const command = 'cat "$STANDIN_PATH/mail" > "$STANDIN_PATH/started"';
  const servers = await withMail(t, "--start-command", command);
  const at = join(servers.home, "promoted");
  servers.killSource();
  const { lsn, epoch } = servers.target.json("promote", "data", "--at", at);
  assert.equal(epoch, 2);
  assert.ok(Number(lsn) > 0);
  assert.equal(readFileSync(join(at, "started"), "utf8"), "the only copy");
  writeFileSync(join(at, "mail"), "written on the new server");
  assert.equal(servers.target.command("promote", "data", "--at", `${at}2`).code, 1, "once only");
  await servers.source.start();
  assert.equal(servers.isMounted(), false, "what comes back does not mount");
  assert.match(JSON.stringify(servers.source.json("jobs")), /promoted on another server/);
  await servers.target.stop();
  await servers.target.start();
  assert.equal(readFileSync(join(at, "mail"), "utf8"), "written on the new server");
});

test("a promotion tells which files the source had yet to bring", { skip, timeout }, async (t) => {
  const servers = await Servers.start(t);
  writeFileSync(join(servers.folder, "large.tmp"), randomBytes(8 << 20));
  await servers.protect("--exclude", "*.tmp", "--limit", "256K");
  writeFileSync(join(servers.folder, "whole"), "small");
  servers.flush();
  renameSync(join(servers.folder, "large.tmp"), join(servers.folder, "large"));
  await until(
    () => JSON.stringify(servers.status()).includes("FILES_DIFFER") || undefined,
    () => `it is not being copied: ${JSON.stringify(servers.status())}`,
  );
  servers.killSource();
  assert.equal(servers.replicaStatus().pendingResyncs, 1);
  assert.match(servers.target.command("jobs").stdout, /may be missing or older: 1/);
  const at = join(servers.home, "promoted");
  const { stdout } = servers.target.command("promote", "data", "--at", at);
  assert.match(stdout, new RegExp(`may be missing or older.*: 1\\n *${at}/large\\n`));
  const { promotion } = servers.replicaStatus();
  assert.deepEqual(promotion?.unfinished, { count: 1, paths: [join(at, "large")] });
});

test("the new primary is protected by the old source, when that is back", {
  skip,
  timeout,
}, async (t) => {
  const { servers, at } = await promoted(t);
  await servers.source.start();
  const writer = openSync(join(at, "open"), "w");
  writeSync(writer, "before ");
  const { target: primary, source: standby } = servers;
  const other = primary.command("protect", join(at, ".."), "--name", "more", "--to", "s0");
  assert.match(other.stderr, /already protected/);
  primary.json("protect", at, "--name", "back", "--to", "s0");
  writeSync(writer, "and behind");
  closeSync(writer);
  primary.json("flush", "back", "--timeout", "60");
  const replica = servers.replica(standby, at);
  assert.deepEqual(compareTrees(at, replica), []);
  assert.equal(readFileSync(join(replica, "open"), "utf8"), "before and behind");
  await primary.stop();
  await primary.start();
  writeFileSync(join(at, "later"), "after a restart");
  primary.json("flush", "back", "--timeout", "60");
  assert.equal(readFileSync(join(replica, "later"), "utf8"), "after a restart");
  assert.equal(readFileSync(join(servers.folder, "mail"), "utf8"), "the only copy");
});

test("a promoted folder is shown and captured again when its machine was restarted", {
  skip,
  timeout,
}, async (t) => {
  const { servers, at } = await promoted(t);
  servers.target.kill();
  await servers.target.ended();
  servers.killCapture();
  servers.loseSourceMemory();
  // Twice: what captures lies over what shows the replica there.
  for (let i = 0; i < 2; i++) spawnSync("umount", ["-l", at]);
  assert.deepEqual(readdirSync(at), []);
  await servers.target.start();
  const jobs = await until(
    () => [servers.target.json("jobs")].find((all) => /"captured"/.test(JSON.stringify(all))),
    () => JSON.stringify(servers.target.json("jobs")),
  );
  assert.match(JSON.stringify(jobs), /data-promoted/);
  assert.equal(readFileSync(join(at, "mail"), "utf8"), "the only copy");
});

test("changes that nobody captured are no hindrance while nothing behind them has come", {
  skip,
  timeout,
}, async (t) => {
  const servers = await withMail(t);
  // So that the comparison does not begin.
  process.kill(servers.applier(), "SIGSTOP");
  servers.killCapture();
  await until(
    () => servers.replicaStatus().due === "resync" || undefined,
    () => JSON.stringify(servers.replicaStatus()),
  );
  assert.equal(servers.replicaStatus().isComplete, true);
  servers.killSource();
  process.kill(servers.applier(), "SIGCONT");
  const at = join(servers.home, "promoted");
  servers.target.json("promote", "data", "--at", at);
  assert.equal(readFileSync(join(at, "mail"), "utf8"), "the only copy");
});

test("a folder that is protected cannot be protected again, and stays protected", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t);
  mkdirSync(join(servers.folder, "below"));
  await servers.protect();
  for (const path of [servers.folder, join(servers.folder, "below"), servers.home]) {
    const again = servers.source.command("protect", path, "--name", "again", "--to", "s1");
    assert.equal(again.code, 1, path);
    assert.match(again.stderr, /already protected/);
  }
  assert.equal(servers.isMounted(), true);
  writeFileSync(join(servers.folder, "below/file"), "still captured");
  servers.flush();
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), []);
});

test("a source that was restarted with its machine goes on, and what was missed is found", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t);
  await servers.protect();
  writeFileSync(join(servers.folder, "file"), "captured");
  servers.flush();
  servers.killSource();
  servers.loseSourceMemory();
  writeFileSync(join(servers.folder, "file"), "written while nobody captured");
  await servers.source.start();
  writeFileSync(join(servers.folder, "later"), "captured again");
  servers.flush();
  assert.equal(servers.isMounted(), true);
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), []);
});

test("a source that still runs gives way when its replica is promoted", {
  skip,
  timeout,
}, async (t) => {
  const servers = await withMail(t);
  const at = join(servers.home, "promoted");
  servers.target.json("promote", "data", "--at", at);
  await servers.untilUnmounted();
  assert.deepEqual(
    servers.status().reasons.map(({ code }) => code),
    ["FENCED"],
  );
  assert.equal(readFileSync(join(at, "mail"), "utf8"), "the only copy");
});

test("a promotion goes on when the agent is killed within", { skip, timeout }, async (t) => {
  const servers = await Servers.start(t);
  const command = 'echo started >> "$STANDIN_PATH/started"; sleep 5; touch "$STANDIN_PATH/ended"';
  await servers.protect("--start-command", command);
  writeFileSync(join(servers.folder, "mail"), "the only copy");
  servers.flush();
  servers.killSource();
  const at = join(servers.home, "promoted");
  await servers.promoteWithKill(join(at, "started"), "--at", at);
  assert.equal(existsSync(join(at, "ended")), true);
  assert.equal(readFileSync(join(at, "mail"), "utf8"), "the only copy");
  const jobs = servers.target.json("jobs").jobs as { role: string }[];
  assert.equal(jobs.filter(({ role }) => role === "source").length, 1, "captured once");
  const replica = servers.replica();
  const { shown } = servers.target.json("unprotect", "data-promoted");
  assert.deepEqual(shown, [{ replica, path: at }]);
  assert.equal(readFileSync(join(at, "mail"), "utf8"), "the only copy", "it stays in its place");
});

const isolated = skipUnless(
  "root",
  "fuse",
  "fuse-resend",
  "network-namespaces",
  "command:ip",
  "command:nft",
);

test("a silent host is taken for lost, and its replica promotes itself", {
  skip: isolated,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t, 2, { isolated: true });
  await servers.protect("--on-failure", "3");
  writeFileSync(join(servers.folder, "mail"), "the only copy");
  servers.flush();
  servers.source.kill();
  await servers.source.ended();
  await sleep(6000);
  assert.equal(servers.replicaStatus().promotion, null, "the host still answers");
  servers.killSource();
  servers.network.cut("both");
  // The promoted folder is to be where it was, which here is the same machine.
  rmSync(join(servers.folder, "mail"));
  await until(
    () => servers.replicaStatus().promotion?.isDone || undefined,
    () => JSON.stringify(servers.replicaStatus()),
    60_000,
  );
  assert.equal(readFileSync(join(servers.folder, "mail"), "utf8"), "the only copy");
});
