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
/** Of a run; at its end some go on during a verify. */
export const RESYNC_OPS = (TURNS * 2 + 1) * TURN_OPS;

/** Small, so that operations come between them. */
const PIECES = { entries: 2, bytes: 16 << 10 };

/** Small, and names change more than contents: most of what goes wrong needs several to meet. */
const WORLD = {
  names: ["a", "b", "c", "ä", "x.tmp"],
  depth: 3,
  weights: { write: 8, rename: 12, replace: 8, exchange: 8, link: 6, create: 10, remove: 8 },
};

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
  const bench = new ApplierBench({ under, exclude, pieces: PIECES, orphans: "aside" });
  const failure = failureOf(bench, new Prng(seed));
  bench.remove();
  if (failure === undefined) return undefined;
  return `seed ${seed}, in ${under}, without ${JSON.stringify(exclude)}: ${failure}`;
}

function failureOf(bench: ApplierBench, prng: Prng): string | undefined {
  const rules = rulesOfLists([], bench.exclude);
  const world = { ...WORLD, nameless: bench.home };
  const operations = new RandomOperations(bench.source, prng, world);
  for (let turn = 0; turn <= TURNS; turn++) {
    const found: string[] = [];
    try {
      if (turn < TURNS) resync(bench, operations, prng);
      else found.push(...verify(bench, operations, prng));
      found.push(...differences(bench, rules), ...forgotten(bench, operations));
      found.push(...setAside(bench));
    } catch (error) {
      return `turn ${turn}, after ${operations.last}: ${(error as Error).stack}`;
    }
    if (found.length > 0) return `turn ${turn}: ${found.join("; ")}`;
  }
  return undefined;
}

function resync(bench: ApplierBench, operations: RandomOperations, prng: Prng): void {
  loseSome(bench, operations, TURN_OPS);
  for (let i = 0; i < TURN_OPS; i++) {
    goOn(bench, operations, prng);
    if (prng.chance(1 / 200)) loseSome(bench, operations, 10);
    if (prng.chance(1 / 100)) bench.restart();
  }
  bench.settle();
}

/** Of equal trees: whatever it finds is wrong. */
function verify(bench: ApplierBench, operations: RandomOperations, prng: Prng): string[] {
  const { runtime } = bench;
  runtime.startPass(PassKind.verify);
  for (let i = 0; i < TURN_OPS; i++) goOn(bench, operations, prng);
  bench.settle();
  return runtime.differences.list().map(({ path, what }) => `${path}: ${what}, says a verify`);
}

function goOn(bench: ApplierBench, operations: RandomOperations, prng: Prng): void {
  operations.step();
  bench.housekeep();
  bench.source.serveRecords(prng.uint32() % 4);
  if (prng.chance(1 / 3)) bench.runtime.applyBatch(() => 0, 0);
}

/** A gap, after which a pass begins. What was recorded before is applied first. */
function loseSome(bench: ApplierBench, operations: RandomOperations, count: number): void {
  const { source, runtime } = bench;
  source.isRecording = false;
  for (let i = 0; i < count; i++) operations.step();
  runtime.applyBatch(() => 0, Number.POSITIVE_INFINITY);
  runtime.startPass(runtime.isMirrored ? PassKind.resync : PassKind.mirror);
  source.isRecording = true;
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

/** Files without a name that the source has no more, or not without one. */
function forgotten({ home }: ApplierBench, { nameless }: RandomOperations): string[] {
  return readdirSync(`${home}/.replica.standin/nameless`)
    .filter((name) => !nameless.has(Number(name.slice(1))))
    .map((name) => `${name}: without a name, and only on the replica`);
}

/** Nobody else writes to the replica: all that it ever had was the source's. */
function setAside({ home }: ApplierBench): string[] {
  return readdirSync(`${home}/.replica.standin/aside`, { recursive: true }).map(
    (path) => `${path}: set aside as if it were somebody else's`,
  );
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
