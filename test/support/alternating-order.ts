/** What replicas of the folders of alternating-writer.ts may show, if both have one order. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";

/** Of so many numbers one has a file. */
export const MARK_EVERY = 10;
/** Of so many numbers one is synced. */
export const SYNC_EVERY = 7;

/** The last number written to the folder; 0 before the first. */
export function counterIn(folder: string): number {
  try {
    return Number(readFileSync(`${folder}/counter`, "utf8"));
  } catch {
    return 0;
  }
}

/**
 * While changes are applied: B was read first, so that A may be anything ahead, and never behind.
 * Returns B's number.
 */
export function assertNotBehind(a: string, b: string): number {
  const second = counterIn(b);
  const first = counterIn(a);
  assert.ok(first >= second, `A is at ${first}, behind B at ${second}`);
  return second;
}

/**
 * When nothing is applied any more: the state after some change, and no other. Returns B's number.
 * The file of a number comes right behind the number, so only where the last change was it may be
 * missing.
 */
export function assertOneOrder(a: string, b: string): number {
  const [first, second] = [counterIn(a), counterIn(b)];
  const at = `A is at ${first}, B at ${second}`;
  const isLastInA = first === second + 1;
  assert.ok(first === second || isLastInA, at);
  assertMarks(a, first, isLastInA, at);
  assertMarks(b, second, !isLastInA, at);
  return second;
}

function assertMarks(folder: string, number: number, mayLackLast: boolean, at: string): void {
  const marks = marksIn(folder);
  const expected = Array.from({ length: Math.floor(number / MARK_EVERY) }, (_, i) => {
    return (i + 1) * MARK_EVERY;
  });
  const isLastDue = mayLackLast && expected.at(-1) === number;
  if (isLastDue && marks.length === expected.length - 1) expected.pop();
  assert.deepEqual(marks, expected, `files in ${folder}: ${at}`);
}

function marksIn(folder: string): number[] {
  let names: string[] = [];
  try {
    names = readdirSync(folder);
  } catch {
    // Not made yet.
  }
  return names
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .sort((x, y) => x - y);
}
