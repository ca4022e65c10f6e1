import assert from "node:assert/strict";
import { test } from "node:test";

import { EngineRestarts } from "./engine-restarts.ts";

test("EngineRestarts answers any number of deaths after a good life at once", () => {
  const restarts = new EngineRestarts();
  for (let kill = 0; kill < 100; kill++) assert.equal(restarts.afterDeath(1000), 0);
});

test("EngineRestarts waits longer for an engine that dies at its start, and gives up", () => {
  const restarts = new EngineRestarts();
  const pauses: (number | undefined)[] = [];
  for (let death = 0; death < 15; death++) pauses.push(restarts.afterDeath(20));
  assert.deepEqual(pauses.slice(0, 7), [0, 0, 0, 0, 50, 100, 200]);
  assert.equal(pauses[13], 5000);
  assert.equal(pauses[14], undefined);
});

test("EngineRestarts forgives earlier deaths after a good life", () => {
  const restarts = new EngineRestarts();
  for (let death = 0; death < 10; death++) restarts.afterDeath(20);
  assert.equal(restarts.afterDeath(2000), 0);
  assert.equal(restarts.deathsInARow, 1);
});

test("EngineRestarts takes an engine that ends by itself early for broken", () => {
  const restarts = new EngineRestarts();
  let pauseMs: number | undefined = 0;
  for (let death = 0; death < 15; death++) pauseMs = restarts.afterDeath(4000, true);
  assert.equal(pauseMs, undefined);
});
