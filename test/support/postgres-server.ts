/** A PostgreSQL of its own: no service, no port, a socket in a folder, run as user postgres. */
import assert from "node:assert/strict";
import { chownSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { delimiter } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { LoadProcess } from "./load-process.ts";
import { Patience } from "./patience.ts";
import { descendantsOf, killIfThere } from "./process-tree.ts";
import { runCommand } from "./run-command.ts";

const DEBIAN_HOME = "/usr/lib/postgresql";
const READY_MS_MAX = 60_000;
const STOP_MS_MAX = 60_000;

/** Debian keeps the server's programs out of PATH, one folder a version: takes the newest. */
export function addPostgresToPath(): void {
  const versions = listIfThere(DEBIAN_HOME).toSorted((a, b) => Number(b) - Number(a));
  const folders = versions.slice(0, 1).map((version) => `${DEBIAN_HOME}/${version}/bin`);
  process.env.PATH = [...folders, process.env.PATH].join(delimiter);
}

function listIfThere(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

const AS_POSTGRES = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] as const;

/** PostgreSQL refuses to run as root. */
export function asPostgres(command: string, ...args: readonly string[]): Promise<string> {
  return runCommand(...AS_POSTGRES, command, ...args);
}

export async function giveToPostgres(path: string): Promise<void> {
  const id = async (flag: string) => Number(await runCommand("id", flag, "postgres"));
  chownSync(path, await id("-u"), await id("-g"));
}

export class PostgresServer {
  readonly data: string;
  /** Of the socket; also what clients take for a host name. */
  readonly host: string;
  readonly #logFile: string;
  #process: LoadProcess | undefined;
  #sharedMemory: string[] = [];

  constructor(data: string, host: string) {
    this.data = data;
    this.host = host;
    this.#logFile = `${host}/log`;
  }

  /** Options of every client. */
  get connection(): readonly string[] {
    return ["--host", this.host, "--username", "postgres"];
  }

  async start(): Promise<void> {
    mkdirSync(this.host, { recursive: true });
    await giveToPostgres(this.host);
    const [command, ...args] = AS_POSTGRES;
    const places = ["-D", this.data, "-k", this.host];
    this.#process = new LoadProcess(command, [...args, "postgres", ...places], {
      logFile: this.#logFile,
    });
    await this.#untilReady();
  }

  async #untilReady(): Promise<void> {
    const patience = new Patience(READY_MS_MAX);
    const isReady = () => this.query("SELECT 1").catch(() => undefined);
    while ((await isReady()) === undefined) {
      this.pid();
      assert.ok(!patience.isOver(), "PostgreSQL accepts no connections");
      await sleep(100);
    }
  }

  /** @throws when it has ended by itself. */
  pid(): number {
    assert.ok(this.#process, "PostgreSQL was started");
    return this.#process.pid();
  }

  /** Of server and sessions. Remembers what they leave in the machine if they are killed now. */
  pids(): number[] {
    const pids = [this.pid(), ...descendantsOf(this.pid())];
    this.#sharedMemory = [...new Set(pids.flatMap(sharedMemoryOf))];
    return pids;
  }

  #pidsIfRunning(): number[] {
    try {
      return this.pids();
    } catch {
      return []; // it has ended, by itself or because the test killed it
    }
  }

  query(sql: string): Promise<string> {
    return runCommand("psql", ...this.connection, "--dbname", "postgres", "-XAtqc", sql).then(
      (out) => out.trimEnd(),
    );
  }

  /** As an administrator does it: sessions are ended, a checkpoint is written. */
  async stop(): Promise<void> {
    const child = this.#process?.child;
    child?.kill("SIGINT");
    const deadline = performance.now() + STOP_MS_MAX;
    while (child?.exitCode === null && child.signalCode === null) {
      assert.ok(performance.now() < deadline, "PostgreSQL does not stop");
      await sleep(20);
    }
    this.#process = undefined;
  }

  /** What a killed server leaves in the machine; a stopped one leaves nothing. */
  async removeRests(): Promise<void> {
    for (const path of this.#sharedMemory) rmSync(path, { force: true });
    const id = /^ *\d+ +(\d+) *$/m.exec(this.#pidFile())?.[1];
    if (id !== undefined) await runCommand("ipcrm", "-m", id).catch(() => {});
  }

  #pidFile(): string {
    try {
      return readFileSync(`${this.data}/postmaster.pid`, "utf8");
    } catch {
      return "";
    }
  }

  async clear(): Promise<void> {
    for (const pid of this.#pidsIfRunning()) killIfThere(pid);
    await this.removeRests();
  }
}

/** Files in /dev/shm that a process has mapped. */
function sharedMemoryOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/maps`, "utf8").match(/\/dev\/shm\/PostgreSQL\.\d+/g) ?? [];
  } catch {
    return []; // a session that has ended
  }
}
