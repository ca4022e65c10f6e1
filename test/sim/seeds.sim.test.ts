/** Some thousand seeds, others each time: STANDIN_SEED repeats them. */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";

import { simulate } from "./simulation.ts";

const SECONDS = 25;
const SEEDS = 3000;

test("what must hold holds for every seed", async (t) => {
  const firstSeed = Number(process.env.STANDIN_SEED ?? randomInt(2 ** 32));
  t.diagnostic(`first seed ${firstSeed}`);
  const endMs = performance.now() + SECONDS * 1000;
  let done = 0;
  while (done < SEEDS && performance.now() < endMs) {
    const { seed, failure } = await simulate(firstSeed + done);
    const again = `npm run sim -- --seed ${seed} --verbose`;
    assert.equal(failure, undefined, `seed ${seed}: ${failure?.message}\nagain: ${again}`);
    done += 1;
  }
  t.diagnostic(`${done} seeds`);
});
