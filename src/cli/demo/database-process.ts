/**
 * The demo's database: one row a transaction, synchronous=FULL; each is noted when it is committed.
 */
import { DatabaseSync } from "node:sqlite";

import { systemClock as clock } from "../../platform/clock.ts";
import { scriptConfig } from "../../platform/processes.ts";
import { type ApplicationConfig, NoteBook } from "./application.ts";
import { bodyOf } from "./message-body.ts";

async function main(): Promise<void> {
  const config = scriptConfig<ApplicationConfig>();
  const notes = new NoteBook(config.notes);
  try {
    const database = new DatabaseSync(`${config.folder}/orders.db`);
    database.exec("PRAGMA synchronous = FULL");
    database.exec("CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, body TEXT)");
    const insert = database.prepare("INSERT INTO orders VALUES (?, ?)");
    const end =
      config.count === null ? Number.POSITIVE_INFINITY : config.firstNumber + config.count;
    for (let number = config.firstNumber; number < end; number++) {
      insert.run(number, bodyOf(number));
      notes.done(number, clock.wallMs());
      if (config.pauseMs > 0) await clock.sleep(config.pauseMs);
    }
    database.close();
  } catch (error) {
    notes.failed((error as Error).message);
    process.exitCode = 1;
  }
}

await main();
