/** SQLite as applications use it when they may lose nothing: one row a transaction, flushed. */
import { DatabaseSync } from "node:sqlite";

import { settle } from "./calls.ts";
import { type Load, type LoadResult, type LoadRow, repeatFor } from "./load-request.ts";

const TEXT_CHARACTERS = 100;

function insertRows(journalMode: "delete" | "wal"): LoadRow {
  return ({ workFolder, folderFd, seconds }: Load): LoadResult => {
    const database = new DatabaseSync(`${workFolder}/rows.sqlite`);
    database.exec(`PRAGMA journal_mode = ${journalMode}`);
    database.exec("PRAGMA synchronous = FULL");
    database.exec("CREATE TABLE rows (id INTEGER PRIMARY KEY, number INTEGER, text TEXT)");
    const insert = database.prepare("INSERT INTO rows (number, text) VALUES (?, ?)");
    const text = "x".repeat(TEXT_CHARACTERS);
    let number = 0;
    settle(folderFd);
    const result = repeatFor(seconds, () => {
      insert.run(number++, text);
      return 1;
    });
    const { found } = database.prepare("SELECT count(*) AS found FROM rows").get() as {
      found: number;
    };
    database.close();
    if (found !== result.operations) throw new Error(`${found} rows, not ${result.operations}`);
    return result;
  };
}

export const SQLITE_ROWS: Readonly<Record<string, LoadRow>> = {
  "sqlite-delete": insertRows("delete"),
  "sqlite-wal": insertRows("wal"),
};
