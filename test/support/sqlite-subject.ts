/** A SQLite database in WAL mode with two writers, for the prefix test. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

import { LoadProcess } from "./load-process.ts";
import { lastWithoutGap, type LastNumbers, NoteFile, recordText } from "./numbered-records.ts";
import { type PrefixSubject, untilAllNoted } from "./prefix-stage.ts";
import { killIfThere } from "./process-tree.ts";
import { ACCOUNTS, BODY_BYTES_MAX } from "./sqlite-writer.ts";

const WRITERS = ["anna", "bert"];

export class SqliteSubject implements PrefixSubject {
  readonly #folder: string;
  readonly #notes: ReadonlyMap<string, NoteFile>;
  #writers: LoadProcess[] = [];

  constructor(folder: string) {
    this.#folder = folder;
    this.#notes = new Map(WRITERS.map((writer) => [writer, new NoteFile(this.#notePath(writer))]));
  }

  #notePath(writer: string): string {
    return `${this.#folder}/${writer}.notes`;
  }

  async prepare(source: string): Promise<void> {
    const database = new DatabaseSync(`${source}/records.db`);
    database.exec("PRAGMA journal_mode = WAL");
    database.exec(`
      CREATE TABLE record (writer TEXT, number INTEGER, body TEXT, PRIMARY KEY (writer, number));
      CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER);
    `);
    const insert = database.prepare("INSERT INTO account VALUES (?, 0)");
    for (let id = 0; id < ACCOUNTS; id++) insert.run(id);
    database.close();
  }

  async startLoad(source: string): Promise<void> {
    const script = join(import.meta.dirname, "sqlite-writer.ts");
    for (const notes of this.#notes.values()) notes.begin();
    this.#writers = WRITERS.map((writer) => {
      const args = [script, `${source}/records.db`, writer, this.#notePath(writer)];
      return new LoadProcess(process.execPath, args, { logFile: `${this.#folder}/${writer}.log` });
    });
    await untilAllNoted(this);
  }

  noted(): LastNumbers {
    return new Map([...this.#notes].map(([writer, notes]) => [writer, notes.last()]));
  }

  pids(): number[] {
    return this.#writers.map((writer) => writer.pid());
  }

  async afterKill(): Promise<void> {}

  async inspect(copy: string): Promise<LastNumbers> {
    const database = new DatabaseSync(`${copy}/records.db`);
    try {
      assert.deepEqual(
        database
          .prepare("PRAGMA integrity_check")
          .all()
          .map(({ integrity_check: said }) => said),
        ["ok"],
      );
      const sum = database.prepare("SELECT sum(balance) AS sum, count(*) AS count FROM account");
      assert.deepEqual({ ...sum.get() }, { sum: 0, count: ACCOUNTS });
      return new Map(WRITERS.map((writer) => [writer, lastRow(database, writer)]));
    } finally {
      database.close();
    }
  }

  async clear(): Promise<void> {
    for (const { child } of this.#writers) if (child.pid !== undefined) killIfThere(child.pid);
  }
}

function lastRow(database: DatabaseSync, writer: string): number {
  const rows = database.prepare("SELECT number, body FROM record WHERE writer = ?").all(writer);
  for (const { number, body } of rows) {
    assert.equal(body, recordText(writer, Number(number), BODY_BYTES_MAX));
  }
  return lastWithoutGap(
    writer,
    rows.map(({ number }) => Number(number)),
  );
}
