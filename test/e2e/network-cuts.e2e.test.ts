/**
 * The network between two servers fails again and again under load: for a moment, and for longer
 * than they wait for each other; both ways, one way, or some of it.
 *
 * STANDIN_CUTS: how often (100 for the acceptance), STANDIN_SEED.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import type { Prng } from "../../src/base/prng.ts";
import { skipUnless } from "../support/capabilities.ts";
import { disturbUnderLoad } from "../support/disturbed-job.ts";
import { type Cut, CUTS as KINDS } from "../support/isolated-network.ts";
import { Servers } from "../support/two-servers.ts";

const skip = skipUnless(
  ...(["root", "fuse", "fuse-resend", "network-namespaces"] as const),
  ...(["command:ip", "command:nft"] as const),
);
const CUTS = Number(process.env.STANDIN_CUTS ?? 2);
const MS_MIN = 50;
const MS_MAX = 20_000;
/** Peers give each other up after 10 s. */
const LONG_MS = 11_500;
const timeout = 600_000 + CUTS * 30_000;

test(`the network is cut ${CUTS} times`, { skip, timeout }, async (t) => {
  const servers = await Servers.start(t, 2, { isolated: true });
  await disturbUnderLoad(t, servers, async (prng) => {
    const made: string[] = [];
    // One at least is longer than they wait for each other.
    made.push(await cut(servers, prng, prng.pick(["link", "both", "forward", "back"]), LONG_MS));
    assert.ok(lossesOf(servers) > 0, "a network that is cut for long ends the connection");
    while (made.length < CUTS) {
      await sleep(100 + prng.int(1500));
      made.push(await cut(servers, prng, prng.pick(KINDS), lengthMs(prng)));
    }
    t.diagnostic(`${made.join(", ")}; the connection was lost ${lossesOf(servers)} times`);
    return { appliersKilled: 0 };
  });
});

async function cut({ network }: Servers, prng: Prng, kind: Cut, ms: number): Promise<string> {
  const how = network.cut(kind, prng);
  await sleep(ms);
  network.heal();
  return `${how} ${(ms / 1000).toFixed(1)} s`;
}

function lossesOf({ source }: Servers): number {
  return source.history.filter(({ message }) => /^apart/.test(String(message))).length;
}

/** Short ones are as likely as long ones, on a logarithmic scale. */
function lengthMs(prng: Prng): number {
  const max = CUTS < 20 ? MS_MAX / 10 : MS_MAX;
  return Math.round(MS_MIN * (max / MS_MIN) ** (prng.int(1001) / 1000));
}
