/**
 * Runs the simulation of source and target for one seed or many.
 *
 *   node scripts/run-sim.ts [--seed N] [--seeds COUNT] [--seconds S] [--verbose]
 *
 * Without a seed it begins with a random one, which it prints first. `--seconds` ends it in time,
 * whatever is left of COUNT. A failure is run once more to show what happened before it.
 */
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";

import { type Outcome, simulate } from "../test/sim/simulation.ts";

function wholeNumber(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  console.error(`--${name} wants a whole number, and got ${text}`);
  process.exit(2);
}

async function showFailure({ seed, failure }: Outcome): Promise<void> {
  const { failure: again } = await simulate(seed, { isTraced: true });
  console.log(again?.lines.join("\n"));
  console.log(`\nseed ${seed} fails. ${failure?.message}`);
  if (again?.message !== failure?.message) {
    console.log(`It is not reproducible: the second time it was ${again?.message ?? "no failure"}`);
  }
  console.log(`Again: npm run sim -- --seed ${seed} --verbose`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string" },
      seeds: { type: "string" },
      seconds: { type: "string" },
      verbose: { type: "boolean", default: false },
    },
  });
  const seconds = wholeNumber(values.seconds, "seconds") ?? Number.POSITIVE_INFINITY;
  const defaultCount = values.seconds === undefined ? 1 : Number.POSITIVE_INFINITY;
  const count = wholeNumber(values.seeds, "seeds") ?? defaultCount;
  const firstSeed = wholeNumber(values.seed, "seed") ?? randomInt(2 ** 32);
  console.log(`seed ${firstSeed}`);
  const startMs = performance.now();
  const elapsed = (): number => (performance.now() - startMs) / 1000;
  let [done, ops, faults, virtualMs] = [0, 0, 0, 0];
  while (done < count && (done === 0 || elapsed() < seconds)) {
    const print = values.verbose ? (line: string): void => console.log(line) : undefined;
    const isTraced = values.verbose;
    const outcome = await simulate(firstSeed + done, { isTraced, ...(print ? { print } : {}) });
    if (outcome.failure !== undefined) {
      await showFailure(outcome);
      process.exitCode = 1;
      return;
    }
    done += 1;
    ops += outcome.opsApplied;
    faults += outcome.faults;
    virtualMs += outcome.virtualMs;
  }
  const hours = (virtualMs / 3_600_000).toFixed(1);
  const rate = Math.round(done / elapsed());
  console.log(
    `${done} seeds hold (${rate}/s): ${ops} ops, ${faults} faults, ${hours} virtual hours`,
  );
}

await main();
