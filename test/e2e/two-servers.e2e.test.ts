/**
 * Two servers, an agent each: what is written on one is on the other, whatever is killed; and when
 * the first one is lost, the second one takes over.
 *
 * STANDIN_KILLS: how often agents are killed (100 for the acceptance), STANDIN_SEED.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Prng } from "../../src/base/prng.ts";
import { Application } from "../support/application.ts";
import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { Servers } from "../support/two-servers.ts";

const skip = skipUnless("root", "fuse", "fuse-resend");
const KILLS = Number(process.env.STANDIN_KILLS ?? 6);
const SEED = Number(process.env.STANDIN_SEED ?? 1);
const timeout = 180_000 + KILLS * 15_000;

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

test(`agents are killed ${KILLS} times under load`, { skip, timeout }, async (t) => {
  const servers = await Servers.start(t);
  await servers.protect();
  const applications = await applicationsOn(t, servers, 3);
  const prng = new Prng(SEED);
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(200 + prng.int(1500));
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
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), []);
  t.diagnostic(`${results.reduce((sum, { ops }) => sum + ops, 0)} operations, LSN ${lsn}`);
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
  const servers = await Servers.start(t);
  await servers.protect("--start-command", 'cat "$STANDIN_PATH/mail" > "$STANDIN_PATH/started"');
  writeFileSync(join(servers.folder, "mail"), "the only copy");
  servers.flush();
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
