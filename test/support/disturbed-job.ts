/**
 * A job between two servers that is disturbed under load: whatever is killed or cut, applications
 * must see no error and no long pause, the replica must be equal at the end, by the stream alone,
 * and no op may have been applied twice.
 */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";

import { Prng } from "../../src/base/prng.ts";
import type { AgentRun } from "./agent-run.ts";
import { compareTrees } from "./compare-trees.ts";
import { Load } from "./load.ts";
import { assertEachOnce, readOpAccount } from "./op-account.ts";
import type { Servers } from "./two-servers.ts";

/** `STANDIN_SEED`: another run. */
export const SEED = Number(process.env.STANDIN_SEED ?? 1);

export interface Disturbance {
  /** Appliers that it has killed on the first target, not counting those that its agent ends. */
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
    for (const agent of servers.targets) {
      const killed = agent === servers.target ? appliersKilled : 0;
      checkCopy(t, servers, agent, killed + agent.starts - 1);
    }
    assert.ok(ops > 0, "the applications did something");
    assert.ok(longestMs <= allowedMs, shown);
  } catch (error) {
    showLogs(t, servers);
    throw error;
  }
}

function checkCopy(t: TestContext, servers: Servers, agent: AgentRun, deaths: number): void {
  const { lsn } = servers.status();
  const { appliedLsn, due } = servers.replicaStatus(agent);
  const account = readOpAccount(servers.replicaShm(agent));
  const { behind, begun, repeats, passes, gaps } = account;
  t.diagnostic(
    `LSN ${behind + 1} to ${lsn}: ${begun} ops begun, ${repeats} of them again by the successor ` +
      `of one of ${deaths} killed appliers, ${account.diverged} diverged`,
  );
  assert.deepEqual(
    compareTrees(servers.folder, servers.replica(agent)),
    [],
    "the replica is equal",
  );
  assert.deepEqual({ appliedLsn, due }, { appliedLsn: lsn, due: "none" });
  assertEachOnce(account, deaths);
  // Else a comparison could have mended what the stream did wrong.
  const expected = { passes: servers.firstPasses(agent), gaps: 0 };
  assert.deepEqual({ passes, gaps }, expected, "nothing had to be mended");
  assert.deepEqual(warnings(agent), [], "no file was found different");
}

/** Of a target, about files. */
export function warnings(target: AgentRun): unknown[] {
  return target.history.filter(({ message }) =>
    /diverged|unsupported|unreadable|compared/.test(String(message)),
  );
}

function showLogs(t: TestContext, servers: Servers): void {
  for (const [i, { history }] of servers.agents.entries()) {
    const lines = history.slice(-60).map((line) => JSON.stringify(line));
    t.diagnostic(`s${i}:\n${lines.join("\n")}`);
  }
}
