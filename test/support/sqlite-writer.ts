/**
 * An application of the prefix test: numbered rows in transactions of one to four, a sum that each
 * transaction keeps, and a note outside the folder after every COMMIT. Runs until it is killed.
 */
import { randomInt } from "node:crypto";
import { DatabaseSync } from "node:sqlite";

import { NoteFile, recordText } from "./numbered-records.ts";

const LIFETIME_MS_MAX = 100_000;
/** Pages; small, so that cuts meet many checkpoints. */
const CHECKPOINT_PAGES = 100;

export const BODY_BYTES_MAX = 600;
export const ACCOUNTS = 500;

function main(path: string, writer: string, notePath: string): void {
  const database = new DatabaseSync(path, { timeout: 20_000 });
  database.exec("PRAGMA synchronous = FULL");
  database.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
  const insert = database.prepare("INSERT INTO record VALUES (?, ?, ?)");
  const book = database.prepare("UPDATE account SET balance = balance + ? WHERE id = ?");
  const last = database.prepare("SELECT max(number) AS last FROM record WHERE writer = ?");
  const notes = new NoteFile(notePath);
  let number = Number(last.get(writer)?.last ?? 0);
  while (performance.now() < LIFETIME_MS_MAX) {
    database.exec("BEGIN IMMEDIATE");
    for (let rows = randomInt(1, 5); rows > 0; rows--) {
      number++;
      insert.run(writer, number, recordText(writer, number, BODY_BYTES_MAX));
      const amount = randomInt(1000);
      book.run(amount, randomInt(ACCOUNTS));
      book.run(-amount, randomInt(ACCOUNTS));
    }
    database.exec("COMMIT");
    notes.note(number);
  }
}

if (import.meta.main) {
  const [path = "", writer = "", notePath = ""] = process.argv.slice(2);
  main(path, writer, notePath);
}
