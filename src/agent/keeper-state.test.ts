import assert from "node:assert/strict";
import { test } from "node:test";

import type { KeeperEvent } from "../capture/keeper-config.ts";
import { foldKeeperEvent, judgeKeeper, type KeeperState, NO_KEEPER } from "./keeper-state.ts";

const STARTED: KeeperEvent[] = [
  { event: "keeper-started", pid: 10, startTicks: 1 },
  { event: "mounted", path: "/srv" },
  { event: "engine-started", pid: 11, startTicks: 2 },
  { event: "serving", pid: 11 },
];

function after(...events: KeeperEvent[]): KeeperState {
  return [...STARTED, ...events].reduce(foldKeeperEvent, NO_KEEPER);
}

test("foldKeeperEvent() knows a started keeper as mounted and serving", () => {
  const state = after();
  assert.equal(state.isMounted, true);
  assert.equal(state.isServing, true);
  assert.deepEqual(state.keeper, { pid: 10, startTicks: 1 });
  assert.deepEqual(state.engine, { pid: 11, startTicks: 2 });
});

test("foldKeeperEvent() does not call a new engine serving before it says so", () => {
  const died = after(
    { event: "engine-died", pid: 11, code: null, signal: "SIGKILL", livedMs: 5 },
    { event: "engine-started", pid: 12, startTicks: 3 },
  );
  assert.equal(died.isServing, false);
  assert.equal(died.isMounted, true);
  assert.equal(died.engineStarts, 2);
});

test("foldKeeperEvent() keeps mount and engine when a keeper follows a killed one", () => {
  const state = after({ event: "keeper-started", pid: 20, startTicks: 9 });
  assert.equal(state.isMounted, true);
  assert.deepEqual(state.engine, { pid: 11, startTicks: 2 });
  assert.equal(state.keeperStarts, 2);
});

test("foldKeeperEvent() passes over what it does not know", () => {
  const unknown = { event: "holes-voided", holes: 1 } as unknown as KeeperEvent;
  assert.deepEqual(after(unknown), after());
});

test("judgeKeeper() adopts the engine of a keeper that was killed", () => {
  assert.equal(judgeKeeper(after(), { keeper: false, engine: true }), "adopt");
});

test("judgeKeeper() mounts again when keeper and engine died together", () => {
  assert.equal(judgeKeeper(after(), { keeper: false, engine: false }), "remount");
});

test("judgeKeeper() tells an unmount that was asked for from one that was not", () => {
  const dead = { keeper: false, engine: false };
  assert.equal(judgeKeeper(after({ event: "unmounted", asked: true }), dead), "unmounted");
  assert.equal(judgeKeeper(after({ event: "unmounted", asked: false }), dead), "remount");
});

test("judgeKeeper() does not mount again for an engine that cannot live", () => {
  const state = after({ event: "gave-up", deaths: 15 });
  assert.equal(judgeKeeper(state, { keeper: false, engine: false }), "broken");
});
