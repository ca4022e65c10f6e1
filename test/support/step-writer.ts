/**
 * An application that makes numbered steps in bursts: `node step-writer.ts FOLDER SEED`. Now and
 * then it syncs. Runs until it is killed or a call fails.
 */
import { closeSync, fsyncSync, openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { Prng } from "../../src/base/prng.ts";
import { NumberedSteps } from "./numbered-steps.ts";

const BURST_MAX = 60;
const REST_MS_MAX = 120;

const [folder = "", seed = ""] = process.argv.slice(2);
const steps = new NumberedSteps(folder, Number(seed));
// Its own: how it paces its steps says nothing of what they are.
const pace = new Prng(Number(seed) + 1);
for (;;) {
  for (let left = pace.int(BURST_MAX); left > 0; left--) steps.step();
  if (pace.chance(0.2)) {
    const fd = openSync(`${folder}/counter`, "r");
    fsyncSync(fd);
    closeSync(fd);
  }
  await sleep(pace.int(REST_MS_MAX));
}
