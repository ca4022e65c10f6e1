/**
 * A small SQLite database of our own: durable at each commit (WAL, synchronous=FULL), readable by
 * its owner only, brought up to date by numbered migrations (`PRAGMA user_version` counts them).
 */
import { chmodSync, closeSync, openSync } from "node:fs";
import { DatabaseSync, type SQLOutputValue, type StatementSync } from "node:sqlite";

import { StandinError } from "../base/errors.ts";

export type DatabaseValue = string | number | null;
export type DatabaseRow = Readonly<Record<string, SQLOutputValue>>;

/** Another process may hold the database this long before a statement fails. */
const BUSY_MS = 5000;

export class Database {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /**
   * Opens or makes the file, and runs those of `migrations` (SQL) that it has not seen. Never
   * change one that was released: add another. @throws {StandinError} `STATE_NEWER`,
   * `STATE_DAMAGED`
   */
  static open(path: string, migrations: readonly string[]): Database {
    closeSync(openSync(path, "a", 0o600)); // SQLite would make it for everybody
    chmodSync(path, 0o600); // its -wal and -shm get the same mode
    try {
      const database = new DatabaseSync(path, { timeout: BUSY_MS });
      database.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON");
      const opened = new Database(database);
      opened.#migrate(path, migrations);
      return opened;
    } catch (cause) {
      if (cause instanceof StandinError) throw cause;
      throw new StandinError("STATE_DAMAGED", `cannot read ${path}: ${(cause as Error).message}`, {
        hint: "Restore the file from a backup.",
        cause,
      });
    }
  }

  /** How many rows were changed. */
  run(sql: string, ...values: DatabaseValue[]): number {
    return Number(this.#prepare(sql).run(...values).changes);
  }

  all(sql: string, ...values: DatabaseValue[]): DatabaseRow[] {
    return this.#prepare(sql).all(...values);
  }

  get(sql: string, ...values: DatabaseValue[]): DatabaseRow | undefined {
    return this.#prepare(sql).get(...values);
  }

  /** All of what `work` does, or, when it throws, nothing. Not to be nested. */
  transaction<T>(work: () => T): T {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#database.exec("COMMIT");
      return result;
    } catch (error) {
      this.#database.exec("ROLLBACK");
      throw error;
    }
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #migrate(path: string, migrations: readonly string[]): void {
    this.transaction(() => {
      const seen = Number(this.get("PRAGMA user_version")?.user_version);
      if (seen > migrations.length) {
        throw new StandinError("STATE_NEWER", `${path} was written by a newer release`, {
          hint: "Install that release again; this one cannot read its state.",
        });
      }
      for (const sql of migrations.slice(seen)) this.#database.exec(sql);
      this.#database.exec(`PRAGMA user_version=${migrations.length}`);
    });
  }
}
