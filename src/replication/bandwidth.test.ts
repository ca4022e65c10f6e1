import assert from "node:assert/strict";
import { test } from "node:test";

import { Bandwidth } from "./bandwidth.ts";

const RATE = 1_000_000;

test("without a limit everything may be sent", () => {
  assert.equal(new Bandwidth(undefined).allowance(0, 0), Number.POSITIVE_INFINITY);
});

test("what is sent in a long time is the rate, whatever the size of a frame", () => {
  const bandwidth = new Bandwidth(RATE);
  const frame = 300_000;
  let sent = 0;
  for (let nowMs = 0; nowMs <= 10_000; nowMs++) {
    if (bandwidth.allowance(nowMs, sent) > 0) sent += frame;
  }
  assert.ok(sent >= 10 * RATE && sent <= 10 * RATE + 2 * frame, `${sent}`);
});

test("who was idle does not burst", () => {
  const bandwidth = new Bandwidth(RATE);
  bandwidth.allowance(0, 0);
  assert.equal(bandwidth.allowance(3_600_000, 0), RATE / 4);
});

test("a limit can be taken away", () => {
  const bandwidth = new Bandwidth(RATE);
  bandwidth.limit(undefined);
  assert.equal(bandwidth.allowance(1, 5), Number.POSITIVE_INFINITY);
});
