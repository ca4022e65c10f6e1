/** Opens what the applications left, and compares it with what they were told is committed. */
import { DatabaseSync } from "node:sqlite";

import { listNames, readTextIfPresent } from "../../platform/files.ts";
import { bodyOf } from "./message-body.ts";

/** What must be there: a server's numbers, without one left out. */
export interface Promised {
  readonly host: string;
  readonly first: number;
  readonly last: number;
}

export interface Inspection {
  readonly found: number;
  /** By the server that wrote it. */
  readonly foundOf: Readonly<Record<string, number>>;
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

interface Found {
  readonly host: string;
  readonly body: string;
}

export function inspectDatabase(path: string, promised: readonly Promised[]): DatabaseInspection {
  const database = new DatabaseSync(path);
  try {
    const check = database.prepare("PRAGMA integrity_check").all() as { integrity_check: string }[];
    const integrity = check.map((row) => row.integrity_check).join("; ");
    const rows = database.prepare("SELECT number, host, body FROM orders").all();
    const found = new Map(
      rows.map(({ number, host, body }) => [
        Number(number),
        { host: String(host), body: String(body) },
      ]),
    );
    return { ...compare(found, promised), integrity };
  } finally {
    database.close();
  }
}

export function inspectMail(folder: string, promised: readonly Promised[]): Inspection {
  const found = new Map<number, Found>();
  for (const name of listNames(`${folder}/new`)) {
    const [number, host = ""] = name.split(".");
    found.set(Number(number), { host, body: readTextIfPresent(`${folder}/new/${name}`) ?? "" });
  }
  return compare(found, promised);
}

function compare(found: ReadonlyMap<number, Found>, promised: readonly Promised[]): Inspection {
  let damaged = 0;
  let highest = 0;
  const foundOf: Record<string, number> = {};
  for (const [number, { host, body }] of found) {
    if (body !== bodyOf(number)) damaged += 1;
    foundOf[host] = (foundOf[host] ?? 0) + 1;
    highest = Math.max(highest, number);
  }
  let missing = 0;
  for (const { host, first, last } of promised) {
    for (let number = first; number <= last; number++) {
      if (found.get(number)?.host !== host) missing += 1;
    }
  }
  return { found: found.size, foundOf, missing, damaged, gaps: highest - found.size };
}
