/** A `standin local` as an operator runs it, followed through its JSON lines. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

import { ControlClient } from "../../src/agent/control-client.ts";
import type { InstanceStatus } from "../../src/agent/instance-status.ts";
import { StateDirectory } from "../../src/agent/state-directory.ts";
import { systemClock, withTimeout } from "../../src/platform/clock.ts";
import { readMountTable } from "../../src/platform/mount-table.ts";
import { identify } from "../../src/platform/processes.ts";
import type { Cleanup } from "./cleanup.ts";
import { runCommand } from "./run-command.ts";

const MAIN = join(import.meta.dirname, "../../src/main.ts");
const POLL_MS = 5;
const STOP_MS = 120_000;
const FLUSH_MS = 300_000;
const ANSWER_MS = 20_000;
const MESSAGE_CHARACTERS = 600;

export interface Line {
  readonly [name: string]: unknown;
  /** When it was read, in ms after the start of the command. */
  readonly atMs: number;
}

export interface LocalFolders {
  readonly source: string;
  readonly replica: string;
  /** Not on the file system that is measured. */
  readonly state: string;
}

export class StandinLocal {
  readonly #folders: LocalFolders;
  readonly #child: ChildProcess;
  readonly #startedMs = performance.now();
  readonly #events = new Map<string, Line>();
  #restarts = 0;
  #stderr = "";
  #isOver = false;

  private constructor(folders: LocalFolders, options: readonly string[]) {
    this.#folders = folders;
    const { source, replica, state } = folders;
    const args = [MAIN, "local", source, replica, "--state", state, "--json", ...options];
    this.#child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"], cwd: "/" });
    this.#child.once("exit", () => {
      this.#isOver = true;
    });
    this.#child.stderr?.on("data", (chunk) => (this.#stderr += chunk));
    let rest = "";
    this.#child.stdout?.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#onLine(line);
    });
  }

  static start(
    cleanup: Cleanup,
    folders: LocalFolders,
    options: readonly string[] = [],
  ): StandinLocal {
    const local = new StandinLocal(folders, options);
    cleanup.add(`stop standin local on ${folders.source}`, () => local.stop());
    return local;
  }

  #onLine(text: string): void {
    const line = { ...JSON.parse(text), atMs: performance.now() - this.#startedMs } as Line;
    const name = String(line.event);
    // The first of each kind is what happened; of the status only the newest counts.
    if (name === "status" || !this.#events.has(name)) this.#events.set(name, line);
    if (name === "restarted") this.#restarts += 1;
  }

  event(name: string): Line | undefined {
    return this.#events.get(name);
  }

  async waitFor(name: string, limitMs: number): Promise<Line> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      const line = this.event(name);
      if (line !== undefined) return line;
      if (this.#isOver) throw new Error(`standin local ended: ${this.#messages()}`);
      if (performance.now() > deadline) throw new Error(`no ${name} after ${limitMs / 1000} s`);
      await systemClock.sleep(POLL_MS);
    }
  }

  /** What it said, and its processes: their logs go with the state folder. */
  #messages(): string {
    const logs = ["keeper.log", "applier.log"].map((name) => {
      try {
        return readFileSync(`${this.#folders.state}/${name}`, "utf8");
      } catch {
        return "";
      }
    });
    return [this.#stderr, ...logs].map((text) => text.trim().slice(-MESSAGE_CHARACTERS)).join("\n");
  }

  async status(): Promise<InstanceStatus> {
    return (await this.#ask({ command: "status" })) as InstanceStatus;
  }

  /** Until everything written before is in the copy. */
  async flush(timeoutMs: number = FLUSH_MS): Promise<void> {
    await this.#ask({ command: "flush", timeoutMs }, timeoutMs + ANSWER_MS);
  }

  async #ask(
    request: Parameters<ControlClient["request"]>[0],
    limitMs: number = ANSWER_MS,
  ): Promise<unknown> {
    const state = StateDirectory.open(this.#folders.state);
    const client = await ControlClient.connect(state.controlSocket);
    try {
      const answer = client.request(request);
      return await withTimeout(systemClock, limitMs, answer, () => new Error("no answer in time"));
    } finally {
      client.close();
    }
  }

  /** A command of the command line against this instance; its answer, and how long it took. */
  async command(
    args: readonly string[],
    limitMs: number,
  ): Promise<{ answer: Record<string, unknown>; seconds: number }> {
    const all = [MAIN, ...args, "--state", this.#folders.state, "--json"];
    const { stdout, seconds } = await runCommand(process.execPath, all, { limitMs });
    return { answer: JSON.parse(stdout.trim().split("\n").at(-1) ?? "{}"), seconds };
  }

  /** How often one of its processes had to be started again. */
  get restarts(): number {
    return this.#restarts;
  }

  /** Drains and unmounts; what does not end by then is killed. */
  async stop(): Promise<void> {
    if (this.#isOver && !this.#isMounted()) return;
    this.#child.kill("SIGTERM");
    const deadline = performance.now() + STOP_MS;
    while (!this.#isOver && performance.now() < deadline) await systemClock.sleep(POLL_MS);
    if (this.#isOver && !this.#isMounted()) return;
    await this.#killAll();
    throw new Error(`it did not stop in time and was killed: ${this.#messages()}`);
  }

  #isMounted(): boolean {
    return readMountTable().some(({ path }) => path === this.#folders.source);
  }

  async #killAll(): Promise<void> {
    const record = this.#record();
    for (const role of ["agent", "applier", "keeper", "engine"]) {
      const known = record[role] as { pid: number; startTicks: number } | null | undefined;
      const found = known && identify(known.pid);
      if (found && found.startTicks === known.startTicks) process.kill(known.pid, "SIGKILL");
    }
    await systemClock.sleep(200);
    if (this.#isMounted()) await runCommand("umount", ["-l", this.#folders.source]);
    const { shmDir, id } = record;
    if (typeof shmDir === "string") rmSync(shmDir, { recursive: true, force: true });
    rmSync(`/run/standin/${id}.json`, { force: true });
  }

  #record(): Record<string, unknown> {
    try {
      return JSON.parse(readFileSync(`${this.#folders.state}/instance.json`, "utf8"));
    } catch {
      return {};
    }
  }
}
