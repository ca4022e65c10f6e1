/**
 * The target's machine is restarted at any moment, and its source is gone: everything that was
 * durable is applied, from a checkpoint and the log. Here only memory is lost; what a power cut
 * leaves of a disk is in test/e2e/power-cut-disk.e2e.test.ts.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Prng } from "../../src/base/prng.ts";
import { until } from "../support/agent-run.ts";
import { Application } from "../support/application.ts";
import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { Servers } from "../support/two-servers.ts";

const skip = skipUnless("root", "fuse", "fuse-resend");
const SEED = Number(process.env.STANDIN_SEED ?? 1);
const CUTS = Number(process.env.STANDIN_CUTS ?? 3);

async function untilApplied(servers: Servers): Promise<void> {
  await until(
    () => {
      const { appliedLsn, durableLsn, problem } = servers.replicaStatus();
      return (appliedLsn === durableLsn && problem === null) || undefined;
    },
    () => described(servers),
    60_000,
  );
}

function described(servers: Servers): string {
  return `${JSON.stringify(servers.replicaStatus())}\n${JSON.stringify(servers.target.log)}`;
}

async function loseMemory(servers: Servers): Promise<void> {
  servers.target.kill();
  await servers.target.ended();
  servers.loseTargetMemory();
}

async function work(t: TestContext, servers: Servers, name: string, ms: number): Promise<void> {
  const log = join(servers.home, `${name}.out`);
  const application = new Application(join(servers.folder, name), SEED, log);
  t.after(() => application.kill());
  await application.ready();
  await sleep(ms);
  await application.stop();
}

test(`memory of the target is lost ${CUTS} times under load, with no source to ask`, {
  skip,
  timeout: 120_000 + CUTS * 30_000,
}, async (t) => {
  const prng = new Prng(SEED);
  const servers = await Servers.start(t);
  await servers.protect();
  await work(t, servers, "before", 1000);
  servers.flush();
  // An orderly end makes a checkpoint.
  await servers.target.stop();
  await servers.target.start();
  for (let cut = 0; cut < CUTS; cut++) {
    await work(t, servers, `app-${cut}`, 500 + prng.int(1500));
    servers.flush();
    await loseMemory(servers);
    await servers.target.start();
    await untilApplied(servers);
    assert.equal(servers.replicaStatus().due, "none", described(servers));
  }
  await work(t, servers, "last", 1000);
  servers.flush();
  await loseMemory(servers);
  servers.killSource();
  await servers.target.start();
  await untilApplied(servers);
  assert.equal(servers.replicaStatus().due, "none", described(servers));
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), []);
});
