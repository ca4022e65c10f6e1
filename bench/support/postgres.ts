/** A PostgreSQL server of its own on a folder, run as the user postgres. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, globSync, mkdirSync } from "node:fs";

import type { Cleanup } from "./cleanup.ts";
import { type CommandResult, runCommand } from "./run-command.ts";

const USER = "postgres";
const SERVER_MS = 120_000;

/** Debian's folder of the newest release. */
export function findPrograms(): string {
  const found = globSync("/usr/lib/postgresql/*/bin/pgbench");
  const newest = found.toSorted((a, b) => releaseOf(a) - releaseOf(b)).at(-1);
  if (newest === undefined) throw new Error("no pgbench: install postgresql (Debian's package)");
  return newest.slice(0, newest.lastIndexOf("/"));
}

function releaseOf(path: string): number {
  return Number.parseFloat(path.split("/")[4] ?? "0");
}

export interface PostgresOptions {
  readonly programs: string;
  /** The folder that is measured; the data lie below it. */
  readonly folder: string;
  /** For the socket and the log: short, and not on what is measured. */
  readonly runFolder: string;
  readonly settings: readonly string[];
}

export class Postgres {
  readonly #options: PostgresOptions;
  readonly #data: string;
  #isRunning = false;

  private constructor(options: PostgresOptions) {
    this.#options = options;
    this.#data = `${options.folder}/data`;
  }

  /** A new cluster with pgbench's tables of `scale`; not running. */
  static async create(
    cleanup: Cleanup,
    options: PostgresOptions,
    scale: number,
  ): Promise<Postgres> {
    const server = new Postgres(options);
    for (const folder of [server.#data, options.runFolder]) {
      mkdirSync(folder);
      chmodSync(folder, 0o700);
      giveToUser(folder);
    }
    cleanup.add(`stop the server in ${server.#data}`, () => server.stop("immediate"));
    await server.#run("initdb", ["-D", server.#data, "-A", "trust", "-U", USER, "-k"], SERVER_MS);
    await server.start();
    const limitMs = SERVER_MS + scale * 20_000;
    await server.#run("pgbench", ["-i", "-q", "-s", String(scale), ...server.#connection], limitMs);
    await server.stop("fast");
    return server;
  }

  /** A cluster that is there, such as a copy of another one; not running. */
  static open(options: PostgresOptions): Postgres {
    return new Postgres(options);
  }

  get #connection(): string[] {
    return ["-h", this.#options.runFolder, "-U", USER, "postgres"];
  }

  async start(): Promise<void> {
    const settings = [`-k ${this.#options.runFolder}`, "-c listen_addresses="];
    for (const setting of this.#options.settings) settings.push(`-c ${setting}`);
    const log = `${this.#options.runFolder}/log`;
    this.#isRunning = true;
    const wait = ["-w", "-t", "60", "-l", log, "-o", settings.join(" ")];
    await this.#run("pg_ctl", ["-D", this.#data, ...wait, "start"], SERVER_MS);
  }

  async stop(mode: "fast" | "immediate"): Promise<void> {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    await this.#run("pg_ctl", ["-D", this.#data, "-w", "-t", "60", "-m", mode, "stop"], SERVER_MS);
  }

  /** Transactions a second, and what one took. */
  async bench(clients: number, seconds: number): Promise<{ rate: number; latencyMs: number }> {
    await this.#run("psql", ["-qc", "CHECKPOINT", ...this.#connection], SERVER_MS);
    const load = ["-c", String(clients), "-j", "2", "-T", String(seconds)];
    const limitMs = SERVER_MS + seconds * 2000;
    const { stdout } = await this.#run("pgbench", [...load, ...this.#connection], limitMs);
    const rate = Number(/tps = ([\d.]+)/.exec(stdout)?.[1]);
    const latencyMs = Number(/latency average = ([\d.]+) ms/.exec(stdout)?.[1]);
    if (!(rate > 0) || !(latencyMs > 0)) throw new Error(`pgbench printed no rate: ${stdout}`);
    return { rate, latencyMs };
  }

  /** Clients that go on until they are killed; the process that runs them. */
  startLoad(clients: number): ChildProcess {
    const [file, ...args] = this.#asUser("pgbench", ["-n", "-c", String(clients), "-j", "2"]);
    const forever = ["-T", "86400", ...this.#connection];
    return spawn(file as string, [...args, ...forever], { stdio: "ignore", cwd: "/" });
  }

  /** Values of the one row of an answer, divided by `|`. */
  async query(sql: string): Promise<string> {
    const { stdout } = await this.#run("psql", ["-XAtqc", sql, ...this.#connection], SERVER_MS);
    return stdout.trim();
  }

  /** Every table and index of the database against its own rules. @throws what is wrong */
  async checkTables(): Promise<void> {
    const options = ["--install-missing", "--heapallindexed", "--jobs=2"];
    await this.#run("pg_amcheck", [...options, ...this.#connection], SERVER_MS);
  }

  /** Of a server that was stopped. @throws when a page is not as it was written */
  async checkPages(): Promise<void> {
    await this.#run("pg_checksums", ["--check", "-D", this.#data], SERVER_MS);
  }

  #asUser(program: string, args: readonly string[]): string[] {
    const as = ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups"];
    return [...as, `${this.#options.programs}/${program}`, ...args];
  }

  #run(program: string, args: readonly string[], limitMs: number): Promise<CommandResult> {
    const as = ["--reuid", USER, "--regid", USER, "--init-groups"];
    const file = `${this.#options.programs}/${program}`;
    // A server that pg_ctl starts must not hold our pipes.
    const quiet = program === "pg_ctl" ? ["sh", "-c", 'exec >/dev/null 2>&1; "$@"', "sh"] : [];
    return runCommand("setpriv", [...as, ...quiet, file, ...args], { limitMs });
  }
}

function giveToUser(folder: string): void {
  const { status, stderr } = spawnSync("chown", [`${USER}:`, folder], { encoding: "utf8" });
  if (status !== 0) throw new Error(`chown ${folder}: ${stderr.trim()}`);
}
