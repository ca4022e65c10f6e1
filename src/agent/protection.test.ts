import assert from "node:assert/strict";
import { test } from "node:test";

import { type ProtectionFacts, reasonsAgainst, stateOf } from "./protection.ts";

const WELL: ProtectionFacts = {
  isMounted: true,
  isServing: true,
  isBroken: false,
  isKeeperAlive: true,
  isApplierAlive: true,
  applierDeath: undefined,
  recording: "on",
  opsLost: 0,
  due: "none",
  work: undefined,
  isPaused: false,
  isReplicaFull: false,
  problem: undefined,
  pendingResyncs: 0,
  silentMs: 0,
  stalledMs: 0,
  isStopping: false,
};

function codes(change: Partial<ProtectionFacts>): string[] {
  return reasonsAgainst({ ...WELL, ...change }).map(({ code }) => code);
}

test("reasonsAgainst() finds nothing against an instance that is well", () => {
  assert.deepEqual(codes({}), []);
  assert.equal(stateOf(WELL), "replicating");
});

test("reasonsAgainst() names each single thing that is wrong", () => {
  const cases: [Partial<ProtectionFacts>, string][] = [
    [{ isMounted: false }, "MOUNT_LOST"],
    [{ isServing: false }, "ENGINE_DOWN"],
    [{ isBroken: true }, "ENGINE_BROKEN"],
    [{ isKeeperAlive: false }, "KEEPER_DOWN"],
    [{ isApplierAlive: false }, "APPLIER_DOWN"],
    [{ applierDeath: "SIGKILL" }, "APPLIER_STARTING"],
    [{ recording: "gap", opsLost: 7 }, "GAP"],
    [{ recording: "off" }, "NOT_RECORDING"],
    [{ due: "mirror" }, "NOT_MIRRORED"],
    [{ due: "resync" }, "RESYNC_DUE"],
    [{ isPaused: true }, "PAUSED"],
    [{ isReplicaFull: true }, "REPLICA_FULL"],
    [{ problem: "EIO on the replica" }, "PROBLEM"],
    [{ pendingResyncs: 3 }, "FILES_DIFFER"],
    [{ silentMs: 11_000 }, "APPLIER_SILENT"],
    [{ stalledMs: 16_000 }, "STALLED"],
    [{ isStopping: true }, "STOPPING"],
  ];
  for (const [change, code] of cases) assert.deepEqual(codes(change), [code], code);
});

test("stateOf() puts what stops the job before what it is doing", () => {
  assert.equal(stateOf({ ...WELL, isMounted: false, due: "mirror" }), "error");
  assert.equal(stateOf({ ...WELL, isPaused: true, due: "mirror" }), "paused");
  assert.equal(stateOf({ ...WELL, due: "mirror", work: "mirror" }), "mirroring");
  assert.equal(stateOf({ ...WELL, due: "resync" }), "resyncing");
  assert.equal(stateOf({ ...WELL, work: "verify" }), "verifying");
});
