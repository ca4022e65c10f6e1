import assert from "node:assert/strict";
import { test } from "node:test";
import { SyncHabits } from "./sync-habits.ts";

const FILE = 77;

function habits(): SyncHabits {
  return new SyncHabits(SyncHabits.allocate());
}

/** Syncs behind `run` writes each; what each write was told. */
function play(table: SyncHabits, runs: readonly number[], ino = FILE): boolean[] {
  const told: boolean[] = [];
  for (const run of runs) {
    for (let i = 0; i < run; i++) told.push(table.wrote(ino));
    table.synced(ino, true);
  }
  return told;
}

test("SyncHabits expects a sync behind the write that had one three times", () => {
  assert.deepEqual(play(habits(), [1, 1, 1, 1, 1]), [false, false, false, true, true]);
});

test("SyncHabits expects it behind the last of several writes only", () => {
  const table = habits();
  play(table, [3, 3, 3]);
  assert.deepEqual(play(table, [3]), [false, false, true]);
});

test("SyncHabits learns anew when the number of writes changes", () => {
  const table = habits();
  play(table, [1, 1, 1]);
  assert.deepEqual(play(table, [2, 1, 1, 1, 1]), [true, false, false, false, false, true]);
});

test("SyncHabits expects nothing of a file that is not synced any more", () => {
  const table = habits();
  play(table, [1, 1, 1]);
  assert.equal(table.wrote(FILE), true);
  for (let i = 0; i < 100; i++) assert.equal(table.wrote(FILE), false);
});

test("SyncHabits takes a sync behind no write for none", () => {
  const table = habits();
  play(table, [1, 1, 1, 0, 0]);
  assert.equal(table.wrote(FILE), true);
});

test("SyncHabits tells whether the expected sync has come, and its kind", () => {
  const table = habits();
  play(table, [1, 1, 1]);
  assert.equal(table.isDataOnly(FILE), true);
  assert.equal(table.isExpected(FILE), false);
  table.wrote(FILE);
  assert.equal(table.isExpected(FILE), true);
  table.synced(FILE, false);
  assert.equal(table.isExpected(FILE), false);
  assert.equal(table.isDataOnly(FILE), false);
});

test("SyncHabits forgets a file whose place another one takes", () => {
  const table = habits();
  play(table, [1, 1, 1]);
  for (let ino = 1000; ino < 6000; ino++) table.wrote(ino);
  assert.equal(table.isExpected(FILE), false);
  assert.equal(table.wrote(FILE), false);
});
