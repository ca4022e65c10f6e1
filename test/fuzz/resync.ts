/**
 * Random operations of which some are lost, then a resync while others go on; compares source and
 * replica. All that a run does follows from its seed.
 */
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { Prng } from "../../src/base/prng.ts";
import { PassKind } from "../../src/mirror/pass-state.ts";
import { type Rules, rulesOfLists } from "../../src/model/rules.ts";
import { ApplierBench } from "../support/applier-bench.ts";
import { compareTreesFully } from "../support/compare-trees.ts";
import { RandomOperations } from "../support/random-operations.ts";

const TURNS = 8;
/** In a turn: so many are lost, and so many go on during the resync. */
const TURN_OPS = 100;
export const RESYNC_OPS = TURNS * 2 * TURN_OPS;

/** What is excluded, of the names that the operations use; for half of the seeds nothing. */
const EXCLUDED: readonly (readonly string[])[] = [
  [],
  ["*.tmp", "c/", "/b/a"],
  [],
  ["/a/**", "**/b/x.tmp", "ä"],
];

/** What is wrong, or undefined when all is well. */
export function fuzzResync(seed: number): string | undefined {
  // A number that a tmpfs has given it does not give again; other file systems do at once.
  const under = seed % 2 === 0 ? tmpdir() : "/dev/shm";
  const exclude = EXCLUDED[Math.floor(seed / 2) % EXCLUDED.length]!;
  const bench = new ApplierBench({ under, exclude });
  const failure = failureOf(bench, new Prng(seed));
  bench.remove();
  if (failure === undefined) return undefined;
  return `seed ${seed}, in ${under}, without ${JSON.stringify(exclude)}: ${failure}`;
}

function failureOf(bench: ApplierBench, prng: Prng): string | undefined {
  const rules = rulesOfLists([], bench.exclude);
  const operations = new RandomOperations(bench.source, prng);
  for (let turn = 0; turn < TURNS; turn++) {
    try {
      runTurn(bench, operations, prng, turn > 0);
    } catch (error) {
      return `turn ${turn}, after ${operations.last}: ${(error as Error).stack}`;
    }
    const found = differences(bench, rules);
    if (found.length > 0) return `turn ${turn}: ${found.join("; ")}`;
  }
  return undefined;
}

function runTurn(
  bench: ApplierBench,
  operations: RandomOperations,
  prng: Prng,
  isMirrored: boolean,
): void {
  const { source, runtime } = bench;
  source.isRecording = false;
  for (let i = 0; i < TURN_OPS; i++) operations.step();
  source.isRecording = true;
  if (isMirrored) runtime.startPass(PassKind.resync);
  for (let i = 0; i < TURN_OPS; i++) {
    operations.step();
    bench.housekeep();
    source.serve(prng.uint32() % 3);
    if (i % 3 === 0) runtime.applyBatch(() => 0, 0);
  }
  bench.settle();
}

function differences(bench: ApplierBench, rules: Rules): string[] {
  const { sourcePath, replicaPath } = bench;
  const except = excludedBelow(sourcePath, rules);
  // Of a file with an excluded name the replica has fewer names.
  const facts = rules.isEmpty ? [] : ["links"];
  return [
    ...compareTreesFully(sourcePath, replicaPath, { except, facts }).differences,
    ...excludedBelow(replicaPath, rules).map((path) => `${path}: excluded, and on the replica`),
  ];
}

/** Paths as the comparison names them. */
function excludedBelow(root: string, rules: Rules): string[] {
  const excluded: string[] = [];
  const folders = [""];
  for (const folder of folders) {
    for (const entry of readdirSync(`${root}${folder}`, { withFileTypes: true })) {
      const path = `${folder}/${entry.name}`;
      if (rules.excludes(Buffer.from(path.slice(1)), entry.isDirectory())) excluded.push(path);
      else if (entry.isDirectory()) folders.push(path);
    }
  }
  return excluded;
}
