import assert from "node:assert/strict";
import { test } from "node:test";

import { BusyPoll } from "./busy-poll.ts";

const NEVER = Number.POSITIVE_INFINITY;

/** A processor on which a turn of the loop takes a microsecond. */
class Processor {
  nowUs = 0;
  turns = 0;
  /** The next request comes at this time. */
  requestAtUs = NEVER;
  /** So long somebody else runs when he is let. */
  othersUs = 0;

  readonly poll = new BusyPoll({
    isReady: () => this.nowUs >= this.requestAtUs,
    yieldProcessor: () => {
      this.turns++;
      this.nowUs += 1 + this.othersUs;
    },
    monotonicMs: () => this.nowUs / 1000,
  });

  /** How often the loop turned in one wait. */
  wait(requestInUs: number): number {
    this.turns = 0;
    this.requestAtUs = this.nowUs + requestInUs;
    this.poll.wait();
    return this.turns;
  }
}

test("a wait ends when the request comes", () => {
  const processor = new Processor();
  for (let count = 0; count < 100; count++) {
    assert.equal(processor.wait(20), 20);
  }
  assert.equal(processor.wait(0), 0, "it was there already");
});

test("a wait is short when no request comes", () => {
  const processor = new Processor();
  processor.wait(NEVER);
  assert.ok(processor.nowUs >= 50 && processor.nowUs < 60, `${processor.nowUs} µs`);
});

test("a wait ends when somebody else has run, and that is no good sign", () => {
  const processor = new Processor();
  processor.othersUs = 3000;
  const turns = Array.from({ length: 40 }, () => processor.wait(NEVER));
  assert.deepEqual(turns.slice(0, 8), Array(8).fill(1));
  assert.equal(turns.filter((count) => count > 0).length, 8 + 2, "then one of sixteen");
});

test("where requests are rare there are few waits, and more again when they come", () => {
  const processor = new Processor();
  const isTried = () => processor.wait(NEVER) > 0;
  const rare = Array.from({ length: 8 + 160 }, isTried);
  assert.equal(rare.filter(Boolean).length, 8 + 10);
  while (processor.wait(5) === 0);
  for (let count = 0; count < 7; count++) assert.equal(processor.wait(5), 5);
  const again = Array.from({ length: 8 }, isTried);
  assert.deepEqual(again, Array(8).fill(true), "eight misses are forgiven");
  assert.equal(isTried(), false);
});
