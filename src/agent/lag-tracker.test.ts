import assert from "node:assert/strict";
import { test } from "node:test";

import { LagTracker } from "./lag-tracker.ts";

test("LagTracker shows no lag before anything happened, and when all is applied", () => {
  const lag = new LagTracker();
  assert.deepEqual(lag.figures(), { nowMs: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 });
  lag.observe(0, 5, 5);
  assert.equal(lag.figures().nowMs, 0);
});

test("LagTracker shows the age of the oldest op that is not applied", () => {
  const lag = new LagTracker();
  lag.observe(1000, 10, 0);
  lag.observe(1500, 20, 0);
  assert.equal(lag.figures().nowMs, 500);
  lag.observe(1600, 20, 10);
  assert.equal(lag.figures().nowMs, 100);
  lag.observe(1700, 20, 20);
  assert.equal(lag.figures().nowMs, 0);
  assert.equal(lag.figures().maxMs, 600);
});

test("LagTracker weighs its quantiles by ops", () => {
  const lag = new LagTracker();
  lag.observe(0, 99, 0);
  lag.observe(10, 100, 99);
  lag.observe(1010, 100, 100);
  const { p50Ms, p99Ms, maxMs } = lag.figures();
  assert.ok(p50Ms >= 10 && p50Ms <= 11, `p50 ${p50Ms}`);
  assert.ok(p99Ms <= 11, `p99 ${p99Ms}`);
  assert.equal(maxMs, 1000);
});

test("LagTracker keeps the oldest sample when an endless backlog makes it thin its samples", () => {
  const lag = new LagTracker();
  for (let at = 0; at < 50_000; at++) lag.observe(at, at + 1, 0);
  assert.equal(lag.figures().nowMs, 49_999);
});

test("LagTracker tells for how long ops have waited while none was applied", () => {
  const lag = new LagTracker();
  lag.observe(1000, 5, 5);
  lag.observe(9000, 5, 5);
  assert.equal(lag.stalledMs, 0, "nothing waits");
  lag.observe(9100, 8, 5);
  lag.observe(9600, 9, 5);
  assert.equal(lag.stalledMs, 600);
  lag.observe(9700, 20, 6);
  assert.equal(lag.stalledMs, 0, "slow, but it moves");
  lag.observe(9800, 20, 6);
  assert.equal(lag.stalledMs, 100);
  lag.observe(9900, 20, 20);
  assert.equal(lag.stalledMs, 0);
});
