/**
 * The demo's database: one row a transaction, synchronous=FULL; each is noted when it is committed.
 */
import { DatabaseSync } from "node:sqlite";

import { systemClock } from "../../platform/clock.ts";
import { hostName } from "../../platform/host.ts";
import { scriptConfig } from "../../platform/processes.ts";
import { type ApplicationConfig, workOn } from "./application.ts";
import { bodyOf } from "./message-body.ts";

const TABLE =
  "CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, host TEXT, body TEXT)";
const LAST = "SELECT coalesce(max(number), 0) AS number FROM orders";

const config = scriptConfig<ApplicationConfig>();
await workOn(config, systemClock, () => {
  const database = new DatabaseSync(`${config.folder}/orders.db`);
  database.exec("PRAGMA synchronous = FULL");
  database.exec(TABLE);
  const last = Number(database.prepare(LAST).get()?.number);
  const insert = database.prepare("INSERT INTO orders VALUES (?, ?, ?)");
  const host = hostName();
  return {
    firstNumber: last + 1,
    work: (number) => void insert.run(number, host, bodyOf(number)),
  };
});
