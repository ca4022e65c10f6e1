/**
 * Two servers, each with a network of its own. Their agents, the engine and the applier are killed
 * at random under load. How "no op was applied twice" is counted: test/support/op-account.ts.
 *
 * STANDIN_KILLS: how often each is killed (100 for the acceptance), STANDIN_SEED.
 */
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import type { Prng } from "../../src/base/prng.ts";
import { skipUnless } from "../support/capabilities.ts";
import { disturbUnderLoad } from "../support/disturbed-job.ts";
import { Servers } from "../support/two-servers.ts";

const skip = skipUnless(
  ...(["root", "fuse", "fuse-resend", "network-namespaces"] as const),
  ...(["command:ip", "command:nft"] as const),
);
const KILLS = Number(process.env.STANDIN_KILLS ?? 1);
/** On a machine that others may stop for minutes. */
const timeout = 600_000 + KILLS * 60_000;

test(`the agents are killed ${KILLS} times each`, { skip, timeout }, async (t) => {
  const servers = await Servers.start(t, 2, { isolated: true });
  await disturbUnderLoad(t, servers, async (prng) => {
    for (const agent of prng.shuffle(Array.from({ length: KILLS }, () => servers.agents).flat())) {
      await workFor(prng);
      agent.kill();
      await agent.ended();
      await sleep(prng.int(400));
      await agent.start();
    }
    return { appliersKilled: 0 };
  });
});

test(`engine and applier are killed ${KILLS} times each`, { skip, timeout }, async (t) => {
  const servers = await Servers.start(t, 2, { isolated: true });
  await disturbUnderLoad(t, servers, async (prng) => {
    const kinds = Array.from({ length: KILLS }, () => ["engine", "applier"] as const).flat();
    for (const kind of prng.shuffle(kinds)) {
      await workFor(prng);
      if (kind === "engine") await servers.replaceEngine();
      else await servers.replaceApplier();
    }
    return { appliersKilled: KILLS };
  });
});

function workFor(prng: Prng): Promise<void> {
  return sleep(200 + prng.int(1500));
}
