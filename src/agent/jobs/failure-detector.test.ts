import assert from "node:assert/strict";
import { test } from "node:test";

import { type DetectorEffect, FailureDetector } from "./failure-detector.ts";

const ALLOWED_MS = 5000;
const TICK_MS = 100;
/** What an unanswered probe takes. */
const PROBE_MS = 1000;

interface Course {
  readonly untilMs: number;
  /** When the source's agent last said anything, as known at a moment. */
  readonly heardAtMs: (nowMs: number) => number;
  readonly hostAnswers: (nowMs: number) => boolean;
}

/** All effects but probes, with their moments; answers come at once, no answer takes its time. */
function losses({ untilMs, heardAtMs, hostAnswers }: Course, detector = new FailureDetector()) {
  const found: { effect: DetectorEffect; atMs: number }[] = [];
  let unansweredAtMs = Number.POSITIVE_INFINITY;
  for (let nowMs = 0; nowMs <= untilMs; nowMs += TICK_MS) {
    if (nowMs >= unansweredAtMs) {
      unansweredAtMs = Number.POSITIVE_INFINITY;
      detector.step({ kind: "probed", answered: false }, nowMs);
    }
    const tick = { kind: "tick", heardAtMs: heardAtMs(nowMs), allowedMs: ALLOWED_MS } as const;
    for (const effect of detector.step(tick, nowMs)) {
      if (effect !== "probe") found.push({ effect, atMs: nowMs });
      else if (hostAnswers(nowMs)) detector.step({ kind: "probed", answered: true }, nowMs);
      else unansweredAtMs = nowMs + PROBE_MS;
    }
  }
  return found;
}

const diedAt = (ms: number) => (nowMs: number) => Math.min(nowMs, ms);

test("a source is lost when the time is over, and not a probe later", () => {
  const course = { untilMs: 9000, heardAtMs: diedAt(2000), hostAnswers: () => false };
  assert.deepEqual(losses(course), [{ effect: "lost", atMs: 7000 }]);
});

test("a host that answers is not lost, and its silence counts from its last answer", () => {
  const alive = { untilMs: 60_000, heardAtMs: diedAt(2000), hostAnswers: () => true };
  assert.deepEqual(losses(alive), []);
  const [loss] = losses({ ...alive, hostAnswers: (nowMs) => nowMs < 30_000 });
  assert.ok(loss !== undefined && loss.atMs > 33_900 && loss.atMs <= 35_000, JSON.stringify(loss));
});

test("an agent that speaks again begins the time anew", () => {
  const heardAtMs = (nowMs: number) => (nowMs < 6000 ? Math.min(nowMs, 2000) : diedAt(6000)(nowMs));
  assert.deepEqual(losses({ untilMs: 12_000, heardAtMs, hostAnswers: () => false }), [
    { effect: "lost", atMs: 11_000 },
  ]);
});

test("nothing is decided before a probe has ended: a process that was frozen hears late", () => {
  const detector = new FailureDetector();
  const tick = { kind: "tick", heardAtMs: 0, allowedMs: ALLOWED_MS } as const;
  assert.deepEqual(detector.step(tick, 60_000), ["probe"]);
  assert.deepEqual(detector.step(tick, 60_500), []);
  detector.step({ kind: "probed", answered: false }, 61_000);
  assert.deepEqual(detector.step({ ...tick, heardAtMs: 60_900 }, 61_000), [], "it was heard");
});

test("what cannot be promoted is tried again after a while", () => {
  const course = { untilMs: 13_000, heardAtMs: diedAt(2000), hostAnswers: () => false };
  assert.deepEqual(
    losses(course).map(({ atMs }) => atMs),
    [7000, 12_000],
  );
});
