import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { Prng } from "../base/prng.ts";
import { LockTable } from "./lock-table.ts";

const WORKER = fileURLToPath(new URL("../../test/support/lock-table-worker.ts", import.meta.url));

/** Additions that a worker with this seed makes, counted by playing its choices. */
function additions(seed: number, rounds: number, inos: number): number[] {
  const prng = new Prng(seed);
  const counts = Array.from({ length: inos }, () => 0);
  for (let round = 0; round < rounds; round++) {
    const [a = 0, b = 0, c = 0] = [0, 1, 2, 3].map(() => prng.int(inos));
    const isOne = prng.chance(0.5);
    if (!isOne) prng.chance(0.5);
    for (const index of new Set(isOne ? [a] : [a, b, c])) counts[index] = counts[index]! + 1;
  }
  return counts;
}

test("LockTable lets one thread at a time touch an inode, and no sets deadlock", async () => {
  const inos = [7, 11, 2 ** 33 + 5, 2 ** 52 - 1, 12];
  const rounds = 4000;
  const locks = LockTable.allocate();
  const counters = new SharedArrayBuffer(inos.length * 4);
  const seeds = [1, 2, 3, 4];
  const ends = seeds.map((seed) => {
    const workerData = { locks, counters, inos, rounds, seed };
    const worker = new Worker(WORKER, { workerData });
    return new Promise((resolve, reject) => {
      worker.once("exit", resolve);
      worker.once("error", reject);
    });
  });
  await Promise.all(ends);
  const expected = inos.map((_, index) =>
    seeds.reduce((sum, seed) => sum + additions(seed, rounds, inos.length)[index]!, 0),
  );
  assert.deepEqual([...new Int32Array(counters)], expected);
  assert.ok(
    new Int32Array(locks).every((word) => word === 0),
    "all are free at the end",
  );
});

test("LockTable takes a lock once where several inodes share it", () => {
  const locks = LockTable.allocate();
  const table = new LockTable(locks);
  // More inodes than locks: some pairs must share one.
  for (let ino = 1; ino < 20_000; ino++) {
    table.lockAll(ino, ino, ino + 1, ino * 4096);
    table.unlockAll();
  }
  assert.ok(new Int32Array(locks).every((word) => word === 0));
});

test("LockTable gives back what a handler that threw had in hand", () => {
  const locks = LockTable.allocate();
  const table = new LockTable(locks);
  table.lock(5);
  table.unlockAll();
  table.lockAll(5, 6, 7, 8);
  table.unlockAll();
  table.unlockAll();
  assert.ok(new Int32Array(locks).every((word) => word === 0));
});
