/**
 * A job between two servers that is disturbed under load: whatever is killed or cut, applications
 * must see no error and no long pause, the replica must be equal at the end, by the stream alone,
 * and no op may have been applied twice.
 */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";

import { Prng } from "../../src/base/prng.ts";
import { compareTrees } from "./compare-trees.ts";
import { Load } from "./load.ts";
import { assertEachOnce, readOpAccount } from "./op-account.ts";
import type { Servers } from "./two-servers.ts";

/** `STANDIN_SEED`: another run. */
export const SEED = Number(process.env.STANDIN_SEED ?? 1);

export interface Disturbance {
  /** Appliers that it has killed, not counting those that end with their agent. */
  readonly appliersKilled: number;
}

/** Protects the empty folder, disturbs the job under load, and checks what came of it. */
export async function disturbUnderLoad(
  t: TestContext,
  servers: Servers,
  disturb: (prng: Prng) => Promise<Disturbance>,
): Promise<void> {
  t.diagnostic(`STANDIN_SEED=${SEED}`);
  try {
    await servers.protect();
    const load = await Load.start(t, servers.folder, servers.home, SEED);
    const { appliersKilled } = await disturb(new Prng(SEED));
    const { ops, shown, longestMs, allowedMs } = await load.stop();
    t.diagnostic(shown);
    servers.flush();
    const deaths = appliersKilled + servers.target.starts - 1;
    checkCopy(t, servers, deaths);
    assert.ok(ops > 0, "the applications did something");
    assert.ok(longestMs <= allowedMs, shown);
  } catch (error) {
    showLogs(t, servers);
    throw error;
  }
}

function checkCopy(t: TestContext, servers: Servers, deaths: number): void {
  const { lsn } = servers.status();
  const { appliedLsn, due } = servers.replicaStatus();
  const account = readOpAccount(servers.shmOf("replicas"));
  const { behind, begun, repeats, passes, gaps } = account;
  t.diagnostic(
    `LSN ${behind + 1} to ${lsn}: ${begun} ops begun, ${repeats} of them again by the successor ` +
      `of one of ${deaths} killed appliers, ${account.diverged} diverged`,
  );
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), [], "the replica is equal");
  assert.deepEqual({ appliedLsn, due }, { appliedLsn: lsn, due: "none" });
  assertEachOnce(account, deaths);
  // Else a comparison could have mended what the stream did wrong.
  const expected = { passes: servers.firstPasses, gaps: 0 };
  assert.deepEqual({ passes, gaps }, expected, "nothing had to be mended");
  assert.deepEqual(warnings(servers), [], "no file was found different");
}

/** Of the target, about files. */
export function warnings(servers: Servers): unknown[] {
  return servers.target.history.filter(({ message }) =>
    /diverged|unsupported|unreadable|compared/.test(String(message)),
  );
}

function showLogs(t: TestContext, servers: Servers): void {
  for (const [i, { history }] of servers.agents.entries()) {
    const lines = history.slice(-60).map((line) => JSON.stringify(line));
    t.diagnostic(`s${i}:\n${lines.join("\n")}`);
  }
}
