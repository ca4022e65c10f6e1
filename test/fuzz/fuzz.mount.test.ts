/** A short run of the differential fuzzer with fixed seeds; `npm run fuzz` runs it for longer. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { skipUnless } from "../support/capabilities.ts";
import { DifferentialFuzzer } from "./differential.ts";

const skip = skipUnless("root", "fuse", "fuse-resend", "loop-devices", "command:mkfs.ext4");

describe("differential fuzzer", { skip }, () => {
  let fuzzer: DifferentialFuzzer;
  before(async () => {
    fuzzer = await DifferentialFuzzer.start();
  });
  after(() => fuzzer?.remove());

  for (const seed of [1, 2, 3]) {
    test(`the mount does what the bare file system does (seed ${seed})`, async () => {
      const failure = await fuzzer.run({ seed, count: 1500 });
      if (failure !== undefined) assert.fail(failure);
    });
  }

  test("so it does when its engine is killed on the way (seed 4)", async () => {
    const failure = await fuzzer.run({ seed: 4, count: 1500, killEvery: 400 });
    if (failure !== undefined) assert.fail(failure);
  });
});
