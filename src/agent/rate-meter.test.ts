import assert from "node:assert/strict";
import { test } from "node:test";

import { RateMeter } from "./rate-meter.ts";

test("RateMeter knows no speed from fewer than two samples", () => {
  const meter = new RateMeter();
  assert.equal(meter.perSecond(), 0);
  meter.observe(0, 100);
  assert.equal(meter.perSecond(), 0);
});

test("RateMeter forgets what is older than its window", () => {
  const meter = new RateMeter();
  for (let second = 0; second <= 20; second++) {
    meter.observe(second * 1000, second < 10 ? 0 : (second - 10) * 500);
  }
  assert.equal(meter.perSecond(), 500);
});
