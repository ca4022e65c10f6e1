/** A thread that adds to counters which only the locks of a LockTable protect. */
import { workerData } from "node:worker_threads";
import { LockTable } from "../../src/capture/lock-table.ts";
import { Prng } from "../../src/base/prng.ts";

const { locks, counters, inos, rounds, seed } = workerData as {
  locks: SharedArrayBuffer;
  counters: SharedArrayBuffer;
  inos: readonly number[];
  rounds: number;
  seed: number;
};
const table = new LockTable(locks);
const counts = new Int32Array(counters);
const prng = new Prng(seed);

function add(index: number): void {
  const seen = counts[index] as number;
  // Long enough for another thread to come in between, if it could.
  for (let i = 0; i < 20; i++) Atomics.load(counts, 0);
  counts[index] = seen + 1;
}

for (let round = 0; round < rounds; round++) {
  const chosen = [0, 1, 2, 3].map(() => prng.int(inos.length));
  const [a = 0, b = 0, c = 0, d = 0] = chosen;
  if (prng.chance(0.5)) {
    table.lock(inos[a] as number);
    add(a);
    table.unlock(inos[a] as number);
    continue;
  }
  const ino = (index: number) => inos[index] as number;
  table.lockAll(ino(a), ino(b), ino(c), prng.chance(0.5) ? ino(d) : 0);
  for (const index of new Set([a, b, c])) add(index);
  table.unlockAll();
}
