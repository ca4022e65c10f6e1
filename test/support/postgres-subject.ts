/** A PostgreSQL cluster with checksums under pgbench, and a writer that notes its commits. */
import assert from "node:assert/strict";
import { appendFileSync, chmodSync, mkdirSync } from "node:fs";

import { LoadProcess } from "./load-process.ts";
import { lastWithoutGap, type LastNumbers } from "./numbered-records.ts";
import { asPostgres, giveToPostgres, PostgresServer } from "./postgres-server.ts";
import { type PrefixSubject, untilAllNoted } from "./prefix-stage.ts";
import { runCommand } from "./run-command.ts";

const DATABASE = "postgres";
const SCALE = "5";
const LIFETIME_S_MAX = "100";

/** Small, so that cuts meet checkpoints, eviction, recycled WAL and vacuum. */
const SETTINGS = `
listen_addresses = ''
shared_buffers = 16MB
min_wal_size = 32MB
max_wal_size = 48MB
checkpoint_timeout = 30s
autovacuum_naptime = 2s
`;

const BODY = "repeat(md5(id::text), 1 + (id % 40)::int)";

export class PostgresSubject implements PrefixSubject {
  readonly #folder: string;
  #server: PostgresServer | undefined;
  #clients: LoadProcess[] = [];
  #committed = 0;

  constructor(folder: string) {
    this.#folder = folder;
    chmodSync(folder, 0o755); // postgres must reach what is its own below
  }

  async prepare(source: string): Promise<void> {
    const data = `${source}/data`;
    mkdirSync(data, { mode: 0o700 });
    await giveToPostgres(data);
    const options = ["--data-checksums", "--no-sync", "--auth=trust", "--username=postgres"];
    await asPostgres("initdb", "-D", data, ...options);
    appendFileSync(`${data}/postgresql.conf`, SETTINGS);
    const server = this.#serverOn(source, "prepare");
    await server.start();
    await runCommand("pgbench", ...server.connection, "-i", "-q", "-s", SCALE, DATABASE);
    await server.query("CREATE TABLE record (id bigint PRIMARY KEY, body text)");
    await server.query("CREATE EXTENSION amcheck");
    await server.stop();
  }

  #serverOn(source: string, name: string): PostgresServer {
    this.#server = new PostgresServer(`${source}/data`, `${this.#folder}/${name}`);
    return this.#server;
  }

  async startLoad(source: string): Promise<void> {
    const server = this.#serverOn(source, "live");
    await server.start(); // recovers from the last kill
    const first = 1 + Number(await server.query("SELECT coalesce(max(id), 0) FROM record"));
    const logFile = `${this.#folder}/clients.log`;
    const bench = [...server.connection, "-n", "-c", "4", "-T", LIFETIME_S_MAX, DATABASE];
    this.#committed = 0;
    this.#clients = [
      new LoadProcess("pgbench", bench, { logFile }),
      this.#startWriter(server.connection, logFile, first),
    ];
    await untilAllNoted(this);
  }

  /** One commit after the other, each noted when psql says that it was made. */
  #startWriter(connection: readonly string[], logFile: string, first: number): LoadProcess {
    let id = first;
    const next = () => {
      const insert = `INSERT INTO record SELECT id, ${BODY} FROM (VALUES (${id}::bigint)) AS v(id)`;
      writer.child.stdin?.write(`BEGIN;\n${insert};\nCOMMIT;\n`);
    };
    const onLine = (line: string) => {
      // What it said last may be heard when the folder of the notes is gone.
      if (line !== "COMMIT" || writer.child.killed) return;
      this.#committed = id;
      appendFileSync(`${this.#folder}/commits.notes`, `${id}\n`);
      id++;
      next();
    };
    const options = ["-XAt", "-v", "ON_ERROR_STOP=1", "--dbname", DATABASE];
    const writer = new LoadProcess("psql", [...connection, ...options], { logFile, onLine });
    next();
    return writer;
  }

  noted(): LastNumbers {
    return new Map([["psql", this.#committed]]);
  }

  pids(): number[] {
    const server = this.#server?.pids() ?? [];
    return [...server, ...this.#clients.map((client) => client.pid())];
  }

  async afterKill(): Promise<void> {
    await this.#server?.removeRests();
  }

  async inspect(copy: string): Promise<LastNumbers> {
    const server = new PostgresServer(`${copy}/data`, `${this.#folder}/copy`);
    try {
      await server.start();
      await checkBooks(server);
      const options = ["--install-missing", "--heapallindexed", "--jobs=2"];
      await runCommand("pg_amcheck", ...server.connection, "--all", ...options);
      const last = await lastRecord(server);
      await server.stop();
      await asPostgres("pg_checksums", "--check", "-D", server.data);
      return new Map([["psql", last]]);
    } finally {
      await server.clear();
    }
  }

  async clear(): Promise<void> {
    for (const client of this.#clients) client.kill();
    await this.#server?.clear();
  }
}

/** What TPC-B keeps: every transaction books the same amount in four tables. */
async function checkBooks(server: PostgresServer): Promise<void> {
  const sums = await server.query(`
    SELECT (SELECT sum(abalance) FROM pgbench_accounts),
      (SELECT sum(tbalance) FROM pgbench_tellers),
      (SELECT sum(bbalance) FROM pgbench_branches),
      (SELECT coalesce(sum(delta), 0) FROM pgbench_history)`);
  assert.equal(new Set(sums.split("|")).size, 1, `the sums differ: ${sums}`);
}

async function lastRecord(server: PostgresServer): Promise<number> {
  const wrong = await server.query(`SELECT id FROM record WHERE body IS DISTINCT FROM ${BODY}`);
  assert.equal(wrong, "", "records with a wrong content");
  const ids = await server.query("SELECT id FROM record");
  return lastWithoutGap("psql", ids === "" ? [] : ids.split("\n").map(Number));
}
