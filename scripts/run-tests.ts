/**
 * Runs the tests of one kind, or of all kinds, and ends with the test runner's own summary.
 *
 *   node scripts/run-tests.ts <unit | sim | mount | e2e | fuzz | all> [part of a path ...]
 *       [--name TEXT] [--seed N] [--ops N]
 *
 * Kinds are told by file names. Unit tests run two files at a time. Tests that mount file systems
 * or start servers run one file at a time: they would disturb each other's timing, and a hang would
 * be hard to trace. So does the simulation, which needs a core for itself. `all` runs all groups
 * and prints one summary for them.
 */
import { globSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { run } from "node:test";
import { spec as Spec } from "node:test/reporters";
import { parseArgs } from "node:util";

import { HangWatch } from "./hang-watch.ts";
import { mergeRuns, type TestEvent } from "./merge-runs.ts";

interface Phase {
  readonly patterns: readonly string[];
  /** Of `patterns`, those that are of another kind. */
  readonly except?: RegExp;
  readonly concurrency: number;
  /** For one test that does not set its own. */
  readonly testTimeoutMs: number;
  /** For a file as a whole: it catches a hang, it does not judge speed. */
  readonly fileTimeoutMs: number;
}

const MINUTE_MS = 60_000;

const UNIT: Phase = {
  patterns: ["src/**/*.test.ts", "test/**/*.test.ts", "scripts/**/*.test.ts"],
  except: /\.(?:sim|mount|e2e)\.test\.ts$/,
  concurrency: 2,
  testTimeoutMs: MINUTE_MS,
  fileTimeoutMs: 5 * MINUTE_MS,
};
const SIM: Phase = {
  patterns: ["test/**/*.sim.test.ts"],
  concurrency: 1,
  testTimeoutMs: 2 * MINUTE_MS,
  fileTimeoutMs: 5 * MINUTE_MS,
};
const MOUNT: Phase = {
  patterns: ["src/**/*.mount.test.ts", "test/**/*.mount.test.ts"],
  concurrency: 1,
  testTimeoutMs: 2 * MINUTE_MS,
  fileTimeoutMs: 10 * MINUTE_MS,
};
const E2E: Phase = {
  patterns: ["test/**/*.e2e.test.ts"],
  concurrency: 1,
  testTimeoutMs: 5 * MINUTE_MS,
  // Long runs by hand take longer than any file does in CI, where a hang must leave time for the
  // rest.
  fileTimeoutMs: (process.env.CI === undefined ? 20 : 12) * MINUTE_MS,
};
const FUZZ: Phase = {
  patterns: ["src/**/*.fuzz.ts", "test/**/*.fuzz.ts"],
  concurrency: 2,
  testTimeoutMs: 60 * MINUTE_MS,
  fileTimeoutMs: 60 * MINUTE_MS,
};

const PHASES_BY_KIND: ReadonlyMap<string, readonly Phase[]> = new Map([
  ["unit", [UNIT]],
  ["sim", [SIM]],
  ["mount", [MOUNT]],
  ["e2e", [E2E]],
  ["fuzz", [FUZZ]],
  ["all", [UNIT, SIM, MOUNT, E2E]],
]);

const ROOT = join(import.meta.dirname, "..");

function filesOf({ patterns, except }: Phase, pathParts: readonly string[]): string[] {
  return globSync(patterns, { cwd: ROOT })
    .filter((path) => !except?.test(path))
    .filter((path) => pathParts.length === 0 || pathParts.some((part) => path.includes(part)))
    .sort()
    .map((path) => join(ROOT, path));
}

/** Starts a phase only when it is read, so that phases run one after the other. */
function* startPhases(
  phases: readonly (Phase & { readonly files: string[] })[],
  namePattern: string | undefined,
): Generator<AsyncIterable<TestEvent>> {
  for (const { files, concurrency, testTimeoutMs, fileTimeoutMs } of phases) {
    const watch = new HangWatch(fileTimeoutMs);
    yield run({
      files,
      concurrency,
      timeout: testTimeoutMs,
      cwd: ROOT,
      ...(namePattern === undefined ? {} : { testNamePatterns: [namePattern] }),
    }) as AsyncIterable<TestEvent>;
    watch.stop();
  }
}

function usage(): never {
  const kinds = [...PHASES_BY_KIND.keys()].join(" | ");
  console.error(`usage: run-tests.ts <${kinds}> [part of a path ...] [--name TEXT]`);
  process.exit(2);
}

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { name: { type: "string" }, seed: { type: "string" }, ops: { type: "string" } },
  });
  // Fuzzers take them from the environment, which the test runner hands on.
  if (values.seed !== undefined) process.env.STANDIN_SEED = values.seed;
  if (values.ops !== undefined) process.env.STANDIN_OPS = values.ops;
  const [kind = "", ...pathParts] = positionals;
  const phases = (PHASES_BY_KIND.get(kind) ?? usage())
    .map((phase) => ({ ...phase, files: filesOf(phase, pathParts) }))
    .filter(({ files }) => files.length > 0);
  if (phases.length === 0) {
    console.error(`No ${kind} test files match ${pathParts.join(", ") || "the patterns"}.`);
    process.exit(1);
  }
  const events = mergeRuns(startPhases(phases, values.name), () => {
    process.exitCode = 1;
  });
  Readable.from(events).compose(new Spec()).pipe(process.stdout);
}

main();
