/**
 * A `standin local` of its own for one test, in a temporary folder, and the way to take it all
 * away.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { killQuietly, killUsersOf } from "./kill-users.ts";
import { Patience } from "./patience.ts";
import type { InstanceStatus, ProcessRole } from "../../src/agent/instance-status.ts";

const MAIN = join(import.meta.dirname, "../../src/main.ts");

export type Line = Record<string, unknown>;

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class LocalRun {
  readonly folder: string = mkdtempSync(`${tmpdir()}/standin-e2e-`);
  readonly source: string = `${this.folder}/source`;
  readonly replica: string = `${this.folder}/replica`;
  readonly state: string = `${this.folder}/state`;
  lines: Line[] = [];
  stderr = "";
  /** A command that runs the instance, such as `setarch`, with its arguments. */
  wrapper: readonly string[] = [];
  #child: ChildProcess | undefined;
  #ended: Promise<number | null> = Promise.resolve(null);

  constructor() {
    mkdirSync(this.source);
    mkdirSync(this.replica);
  }

  start(...options: string[]): void {
    const args = [MAIN, "local", this.source, this.replica, "--state", this.state, "--json"];
    const [command = "", ...words] = [...this.wrapper, process.execPath, ...args, ...options];
    const child = spawn(command, words, { detached: true });
    this.#child = child;
    this.lines = [];
    this.stderr = "";
    this.#ended = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
    let rest = "";
    child.stdout.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.lines.push(JSON.parse(line) as Line);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      this.stderr += chunk.toString();
    });
  }

  event(name: string): Line | undefined {
    return this.lines.find((line) => line.event === name);
  }

  /** Waits for a line that the instance prints. */
  async waitFor(event: string, timeoutMs = 30_000): Promise<Line> {
    return this.#until(() => this.event(event), `event ${event}`, timeoutMs);
  }

  async #until<T>(probe: () => T | undefined, what: string, timeoutMs: number): Promise<T> {
    const patience = new Patience(timeoutMs);
    for (;;) {
      const found = probe();
      if (found !== undefined) return found;
      if (patience.isOver() || this.#child?.exitCode !== null) {
        const lines = this.lines.slice(-5).map((line) => JSON.stringify(line).slice(0, 300));
        throw new Error(`no ${what}:\n${this.stderr}\n${lines.join("\n")}`);
      }
      await sleep(20);
    }
  }

  /** Runs a command against this instance to its end. */
  command(...args: string[]): Ended {
    const env = { ...process.env, STANDIN_STATE: this.state };
    const options = { encoding: "utf8", env, timeout: 60_000 } as const;
    const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], options);
    return { code: status, stdout, stderr };
  }

  status(): InstanceStatus {
    const { stdout, stderr } = this.command("status", "--json");
    if (stdout === "") throw new Error(stderr);
    return JSON.parse(stdout) as InstanceStatus;
  }

  pid(role: ProcessRole): number {
    const pid = this.status().processes.find((process) => process.role === role)?.pid;
    if (pid === null || pid === undefined) throw new Error(`no ${role} runs`);
    return pid;
  }

  kill(...roles: ProcessRole[]): void {
    const pids = roles.map((role) => this.pid(role));
    for (const pid of pids) process.kill(pid, "SIGKILL");
  }

  /** Until status says what is expected. */
  async waitUntil(
    expected: (status: InstanceStatus) => boolean,
    timeoutMs = 30_000,
  ): Promise<InstanceStatus> {
    const patience = new Patience(timeoutMs);
    for (;;) {
      const status = this.status();
      if (expected(status)) return status;
      if (patience.isOver()) throw new Error(JSON.stringify(status, undefined, 1));
      await sleep(100);
    }
  }

  /** SIGTERM, and the exit code that follows. */
  stop(): Promise<number | null> {
    this.#child?.kill("SIGTERM");
    return this.#ended;
  }

  ended(): Promise<number | null> {
    return this.#ended;
  }

  isMounted(): boolean {
    return readFileSync("/proc/self/mountinfo", "utf8").includes(` ${this.source} `);
  }

  /** Leaves nothing behind, whatever state the test ended in. */
  async clear(): Promise<void> {
    const record = this.#record();
    const agent = (record.agent as { pid: number } | null | undefined)?.pid;
    if (agent !== undefined) killQuietly(agent);
    this.#child?.kill("SIGKILL");
    await sleep(50);
    // Also a keeper that was started too late to be recorded.
    if (typeof record.shmDir === "string") killUsersOf(record.shmDir);
    while (this.isMounted()) spawnSync("umount", ["-l", this.source]);
    if (typeof record.shmDir === "string") {
      rmSync(record.shmDir, { recursive: true, force: true });
      rmSync(`/run/standin/${record.id}.json`, { force: true });
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  #record(): Record<string, unknown> {
    try {
      return JSON.parse(readFileSync(`${this.state}/instance.json`, "utf8"));
    } catch {
      return {};
    }
  }
}

/** Our own processes, which have the instance's shared memory in their command line. */
