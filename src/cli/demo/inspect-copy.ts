/**
 * Opens the copy as a server that takes over would, and compares it with what the applications
 * noted.
 */
import { DatabaseSync } from "node:sqlite";

import { listNames, readTextIfPresent } from "../../platform/files.ts";
import type { Note } from "./application.ts";
import { bodyOf } from "./message-body.ts";

export interface Inspection {
  /** Noted before the flush. */
  readonly promised: number;
  readonly found: number;
  /** Promised and not there. */
  readonly missing: number;
  /** There, with other contents than were written. */
  readonly damaged: number;
  /** Numbers left out below the highest one: a later change without an earlier one. */
  readonly gaps: number;
}

export interface DatabaseInspection extends Inspection {
  /** SQLite's own answer: `ok`. */
  readonly integrity: string;
}

export function inspectDatabase(path: string, promised: readonly Note[]): DatabaseInspection {
  const database = new DatabaseSync(path);
  try {
    const check = database.prepare("PRAGMA integrity_check").all() as { integrity_check: string }[];
    const integrity = check.map((row) => row.integrity_check).join("; ");
    const rows = database.prepare("SELECT number, body FROM orders").all();
    const found = new Map(rows.map((row) => [Number(row["number"]), String(row["body"])]));
    return { ...compare(found, promised), integrity };
  } finally {
    database.close();
  }
}

export function inspectMail(folder: string, promised: readonly Note[]): Inspection {
  const found = new Map<number, string>();
  for (const name of listNames(`${folder}/new`)) {
    found.set(Number.parseInt(name, 10), readTextIfPresent(`${folder}/new/${name}`) ?? "");
  }
  return compare(found, promised);
}

function compare(found: ReadonlyMap<number, string>, promised: readonly Note[]): Inspection {
  let damaged = 0;
  let highest = 0;
  for (const [number, body] of found) {
    if (body !== bodyOf(number)) damaged += 1;
    highest = Math.max(highest, number);
  }
  const missing = promised.filter(({ number }) => !found.has(number)).length;
  return {
    promised: promised.length,
    found: found.size,
    missing,
    damaged,
    gaps: highest - found.size,
  };
}

export function isIntact({ missing, damaged, gaps }: Inspection): boolean {
  return missing === 0 && damaged === 0 && gaps === 0;
}
