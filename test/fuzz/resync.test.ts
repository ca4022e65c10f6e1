/** A short run of the fuzzer of resyncs with fixed seeds; `npm run fuzz` runs it for longer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzzResync } from "./resync.ts";

const FIRST = Number(process.env.STANDIN_SEED ?? 1);
const COUNT = process.env.STANDIN_SEED === undefined ? 12 : 1;

for (let seed = FIRST; seed < FIRST + COUNT; seed++) {
  test(`a resync leaves nothing wrong while operations go on (seed ${seed})`, () => {
    const failure = fuzzResync(seed);
    if (failure !== undefined) assert.fail(failure);
  });
}
