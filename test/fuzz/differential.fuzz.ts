/**
 * The differential fuzzer for as long as wanted:
 *
 *   npm run fuzz -- --seed N --ops N
 *
 * Operations are done in rounds of ten thousand, each with a seed of its own that follows from the
 * first; a failure names the seed of its round and the few operations that show it.
 * STANDIN_KILL_EVERY=N kills the engine once in N operations.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { skipUnless } from "../support/capabilities.ts";
import { DifferentialFuzzer } from "./differential.ts";

const skip = skipUnless("root", "fuse", "fuse-resend", "loop-devices", "command:mkfs.ext4");
const SEED = Number(process.env.STANDIN_SEED ?? Math.floor(Math.random() * 2 ** 31));
const OPS = Number(process.env.STANDIN_OPS ?? 100_000);
const KILL_EVERY = Number(process.env.STANDIN_KILL_EVERY ?? 0);
const ROUND_OPS = 10_000;

const report = (failure: string) => void process.stderr.write(failure);

let fuzzer: DifferentialFuzzer | undefined;
before(async () => {
  if (skip === false) fuzzer = await DifferentialFuzzer.start();
});
after(() => fuzzer?.remove());

for (let done = 0; done < OPS; done += ROUND_OPS) {
  const seed = SEED + done / ROUND_OPS;
  const count = Math.min(ROUND_OPS, OPS - done);
  test(`seed ${seed}, ${count} operations`, { skip }, async () => {
    const kill = KILL_EVERY > 0 ? { killEvery: KILL_EVERY } : {};
    const failure = await fuzzer?.run({ seed, count, ...kill, report });
    if (failure !== undefined) assert.fail(failure);
  });
}
