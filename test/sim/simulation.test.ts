import assert from "node:assert/strict";
import { test } from "node:test";

import { simulate } from "./simulation.ts";

test("what must hold holds for a few seeds", async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const { failure } = await simulate(seed);
    assert.equal(failure, undefined, `seed ${seed}: ${failure?.message}`);
  }
});

test("the same seed does the same", async () => {
  for (const logKind of ["model", "segments"] as const) {
    const one = await linesOf(7, logKind);
    assert.ok(one.length > 20);
    assert.deepEqual(one, await linesOf(7, logKind));
  }
});

async function linesOf(seed: number, logKind: "model" | "segments"): Promise<string[]> {
  const lines: string[] = [];
  const print = (line: string): void => void lines.push(line);
  await simulate(seed, { isTraced: true, print, config: { logKind } });
  return lines;
}

test("another seed does something else", async () => {
  const outcomes = await Promise.all([1, 2, 3, 4, 5, 6].map((seed) => simulate(seed)));
  assert.equal(new Set(outcomes.map(({ virtualMs }) => virtualMs)).size, outcomes.length);
});

test("a failure comes with what happened before it", async () => {
  const { failure } = await simulate(1, { isTraced: true, config: { settleMs: 0, chaosMs: 1 } });
  assert.equal(failure?.checker, "liveness");
  assert.ok(failure.lines.length > 0);
});
