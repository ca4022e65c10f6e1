/**
 * Records that prove a prefix: each writer numbers its records from 1 and begins one only when the
 * one before is durable, so that a copy may lack the last, and never one in the middle.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";

/** The last number of each writer. */
export type LastNumbers = ReadonlyMap<string, number>;

/** What a record says: a line, as long as `bytesMax` at most, told by its writer and number. */
export function recordText(writer: string, number: number, bytesMax: number): string {
  const digest = createHash("sha256").update(`${writer} ${number}`).digest("hex");
  const length = 64 + ((number * 7919) % (bytesMax - 64));
  return `${writer} ${number} ${digest.repeat(Math.ceil(bytesMax / digest.length))}`.slice(
    0,
    length,
  );
}

/** Where a writer notes, outside the protected folder, what it was told is durable. */
export class NoteFile {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  begin(): void {
    writeFileSync(this.#path, "");
  }

  note(number: number): void {
    appendFileSync(this.#path, `${number}\n`);
  }

  /** Zero when nothing is noted. */
  last(): number {
    const complete = textIfThere(this.#path).split("\n").slice(0, -1);
    return Number(complete.at(-1) ?? 0);
  }
}

function textIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** @returns the last number, after a check that those found are 1, 2, 3 and so on. */
export function lastWithoutGap(writer: string, found: readonly number[]): number {
  const sorted = found.toSorted((a, b) => a - b);
  const wrongAt = sorted.findIndex((number, at) => number !== at + 1);
  const around = sorted.slice(Math.max(0, wrongAt - 2), wrongAt + 3).join(", ");
  assert.equal(wrongAt, -1, `${writer}: a gap in the copy, around ${around}`);
  return sorted.length;
}
