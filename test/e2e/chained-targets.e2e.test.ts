/**
 * Three servers in a chain: the source sends to one target, which sends on to the other what it has
 * on its disk. Each may be away, or killed, at any time.
 *
 * STANDIN_KILLS: how often each agent is killed (100 for the acceptance), STANDIN_SEED.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import type { AgentRun } from "../support/agent-run.ts";
import { until } from "../support/agent-run.ts";
import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { disturbUnderLoad } from "../support/disturbed-job.ts";
import { Servers } from "../support/two-servers.ts";

const skip = skipUnless("root", "fuse", "fuse-resend");
const KILLS = Number(process.env.STANDIN_KILLS ?? 1);
const timeout = 240_000;

function lastOf(servers: Servers): AgentRun {
  return servers.agents[2] as AgentRun;
}

function assertEqualEverywhere(servers: Servers): void {
  for (const agent of servers.targets) {
    assert.deepEqual(compareTrees(servers.folder, servers.replica(agent)), []);
  }
}

/** The last one has all that the one before it has. */
async function untilCaughtUp(servers: Servers): Promise<void> {
  const state = () => servers.targets.map((agent) => servers.replicaStatus(agent));
  await until(
    () => {
      const [first, last] = state();
      return last?.appliedLsn === first?.receivedLsn || undefined;
    },
    () => JSON.stringify(state()),
    60_000,
  );
}

test("what is written comes to the second target through the first, and is verified there", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t, 3, { isChained: true });
  mkdirSync(join(servers.folder, "before"));
  for (let i = 0; i < 50; i++) {
    writeFileSync(join(servers.folder, `before/${i}`), `${i}`.repeat(9000));
  }
  await servers.protect();
  assertEqualEverywhere(servers);
  for (let i = 0; i < 50; i++)
    writeFileSync(join(servers.folder, `later-${i}`), `${i}`.repeat(900));
  servers.flush();
  assertEqualEverywhere(servers);
  const { protected: isProtected, targets } = servers.status();
  assert.equal(isProtected, true);
  const ways = targets.map(({ agent, through }) => [agent, through]);
  assert.deepEqual(ways, [
    ["s1", null],
    ["s2", "s1"],
  ]);
  assert.equal(servers.replicaStatus(lastOf(servers)).source, "s1", "nobody else sends to it");
  const damaged = join(servers.replica(lastOf(servers)), "before/7");
  writeFileSync(damaged, "somebody wrote here");
  assert.equal(servers.source.command("verify", "data").code, 1, "verify finds it");
  assert.equal(servers.source.command("verify", "data", "--repair").code, 0);
  servers.flush();
  assertEqualEverywhere(servers);
  servers.source.json("limit", "data", "--to", "s2", "--limit", "1G");
  const { replicas } = servers.source.json("unprotect", "data") as {
    replicas: { agent: string; replica: string; problem: null }[];
  };
  assert.deepEqual(replicas.map(({ agent, problem }) => [agent, problem]).sort(), [
    ["s1", null],
    ["s2", null],
  ]);
  assert.ok(replicas.every(({ replica }) => existsSync(replica)));
  await sleep(2000);
  for (const agent of servers.targets) assert.deepEqual(agent.json("jobs").jobs, []);
});

test("each of a chain may be away: the next gets what it missed when it is back", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t, 3, { isChained: true });
  await servers.protect("--ring", "96M");
  const { target: middle } = servers;
  for (const [round, away] of [middle, lastOf(servers), middle].entries()) {
    await away.stop();
    for (let i = 0; i < 40; i++) {
      writeFileSync(join(servers.folder, `${round}-${i}`), Buffer.alloc(1 << 20, i + round));
    }
    await until(
      () => !servers.status().protected || undefined,
      () => "protected without a target",
    );
    await away.start();
    servers.flush();
    assertEqualEverywhere(servers);
  }
  // The machine in between starts anew, with what is on its disk.
  await middle.stop();
  servers.loseTargetMemory(middle);
  writeFileSync(join(servers.folder, "meanwhile"), "written while it was away");
  await middle.start();
  servers.flush();
  assertEqualEverywhere(servers);
});

test("what nobody took is found by both targets", { skip, timeout }, async (t) => {
  const servers = await Servers.start(t, 3, { isChained: true });
  await servers.protect("--ring", "64M");
  const { source, target: middle } = servers;
  await middle.stop();
  await source.stop();
  for (let i = 0; i < 120; i++) {
    writeFileSync(join(servers.folder, `file-${i % 40}`), Buffer.alloc(1 << 20, i));
  }
  await source.start();
  assert.ok(servers.status().reasons.some(({ code }) => code === "GAP"));
  await middle.start();
  servers.flush();
  assertEqualEverywhere(servers);
});

test("when the source is lost, the last gets what the one before it has, and can take over", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t, 3, { isChained: true });
  await servers.protect("--on-failure", "30");
  const last = lastOf(servers);
  await last.stop();
  for (let i = 0; i < 30; i++)
    writeFileSync(join(servers.folder, `${i}`), Buffer.alloc(1 << 18, i));
  const lsn = servers.status().lsn;
  await until(
    () => servers.replicaStatus().receivedLsn >= lsn || undefined,
    () => JSON.stringify(servers.replicaStatus()),
  );
  servers.killSource();
  await last.start();
  await untilCaughtUp(servers);
  assertEqualEverywhere(servers);
  await until(
    () => /has lost the source/.test(servers.replicaStatus(last).problem ?? "") || undefined,
    () => JSON.stringify(servers.replicaStatus(last)),
  );
  const at = join(servers.home, "promoted");
  last.json("promote", "data", "--at", at);
  assert.equal(readFileSync(join(at, "7")).length, 1 << 18);
  await servers.source.start();
  await until(
    () => !servers.isMounted() || undefined,
    () => "what comes back is mounted",
  );
  assert.match(JSON.stringify(servers.source.json("jobs")), /promoted/);
});

test("a source that still runs gives way when the last of the chain is promoted", {
  skip,
  timeout,
}, async (t) => {
  const servers = await Servers.start(t, 3, { isChained: true });
  await servers.protect();
  writeFileSync(join(servers.folder, "mail"), "the only copy");
  servers.flush();
  lastOf(servers).json("promote", "data", "--at", join(servers.home, "promoted"));
  await servers.untilUnmounted();
});

test(`the agents of a chain are killed ${KILLS} times each`, {
  skip,
  timeout: timeout + KILLS * 60_000,
}, async (t) => {
  const servers = await Servers.start(t, 3, { isChained: true });
  await disturbUnderLoad(t, servers, async (prng) => {
    for (const agent of prng.shuffle(Array.from({ length: KILLS }, () => servers.agents).flat())) {
      await sleep(200 + prng.int(1500));
      agent.kill();
      await agent.ended();
      await sleep(prng.int(400));
      await agent.start();
    }
    return { appliersKilled: 0 };
  });
});
