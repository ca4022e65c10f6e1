/**
 * The fuzzer of resyncs for as long as wanted, one seed after the other:
 *
 *   npm run fuzz -- resync --seed N --ops N
 *
 * A failure names its seed: with it and `--ops 1` it is run again alone.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzzResync, RESYNC_OPS } from "./resync.ts";

const SEED = Number(process.env.STANDIN_SEED ?? Math.floor(Math.random() * 2 ** 31));
const OPS = Number(process.env.STANDIN_OPS ?? 100_000);

for (let i = 0; i * RESYNC_OPS < OPS; i++) {
  test(`seed ${SEED + i}`, () => {
    const failure = fuzzResync(SEED + i);
    if (failure !== undefined) assert.fail(failure);
  });
}
