/** A `standin agent` of its own for one test: state folder, process, and the way to end it. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { askAgent } from "../../src/cli/ask-agent.ts";
import { Patience } from "./patience.ts";

const MAIN = join(import.meta.dirname, "../../src/main.ts");

export type LogLine = Readonly<Record<string, unknown>>;

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface AgentPlace {
  /** A command that runs the agent somewhere else, such as in another network namespace. */
  readonly prefix?: readonly string[] | undefined;
  /** Its state folder, where it is not to be a temporary one. It is left where it is. */
  readonly state?: string | undefined;
}

export class AgentRun {
  readonly state: string;
  /** What the agent logged since its last start. */
  log: LogLine[] = [];
  /** What it logged in all its lives. */
  readonly history: LogLine[] = [];
  /** How often it was started. */
  starts = 0;
  readonly #prefix: readonly string[];
  #child: ChildProcess | undefined;
  #ended: Promise<number | null> = Promise.resolve(null);

  constructor(t: TestContext, { prefix = [], state }: AgentPlace = {}) {
    this.#prefix = prefix;
    this.state = state ?? `${mkdtempSync(`${tmpdir()}/standin-agent-`)}/state`;
    t.after(async () => {
      this.kill();
      await this.#ended;
      if (state === undefined) rmSync(join(this.state, ".."), { recursive: true, force: true });
    });
  }

  /** Starts the agent and waits until it is ready. */
  async start(...options: string[]): Promise<void> {
    this.spawn(...options);
    await this.waitFor("ready");
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  spawn(...options: string[]): void {
    const [command, ...rest] = this.#words("agent", "--json", ...options);
    const child = spawn(command, rest, { stdio: ["ignore", "ignore", "pipe"] });
    this.#child = child;
    this.starts += 1;
    const log: LogLine[] = [];
    this.log = log;
    this.#ended = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
    let unended = "";
    child.stderr.on("data", (chunk: Buffer) => {
      const lines = (unended + chunk.toString()).split("\n");
      unended = lines.pop() ?? "";
      for (const line of lines.map(parsed)) {
        log.push(line);
        this.history.push(line);
      }
    });
  }

  /** Runs a command against this agent's state folder. */
  command(...args: string[]): Ended {
    const [command, ...rest] = this.#words(...args);
    const { status, stdout, stderr } = spawnSync(command, rest, { encoding: "utf8" });
    return { code: status, stdout, stderr };
  }

  /** As {@link command}, while the test goes on; the exit code. */
  commandLater(...args: string[]): Promise<number | null> {
    const [command, ...rest] = this.#words(...args);
    const child = spawn(command, rest, { stdio: "ignore" });
    return new Promise((resolve) => child.once("exit", (code) => resolve(code)));
  }

  #words(...args: string[]): [string, ...string[]] {
    const words = [process.execPath, MAIN, ...args, "--state", this.state];
    const [command = process.execPath, ...rest] = [...this.#prefix, ...words];
    return [command, ...rest];
  }

  /** The same with --json. @throws when it fails. */
  json(...args: string[]): Record<string, unknown> {
    const { code, stdout, stderr } = this.command(...args, "--json");
    if (code !== 0) throw new Error(`${args[0]} exited with ${code}: ${stderr}`);
    return JSON.parse(stdout) as Record<string, unknown>;
  }

  /** The same without a process of its own: little work, and this thread goes on meanwhile. */
  ask<T>(command: string): Promise<T> {
    return askAgent<T>({ state: this.state }, command, {});
  }

  /** Waits for a line of the log. */
  async waitFor(event: string, timeoutMs = 60_000): Promise<LogLine> {
    return await until(
      () => this.log.find((line) => line.event === event),
      () => `no ${event} in the log: ${JSON.stringify(this.log)}`,
      timeoutMs,
    );
  }

  /** SIGTERM; the exit code. */
  stop(): Promise<number | null> {
    this.#child?.kill("SIGTERM");
    return this.#ended;
  }

  ended(): Promise<number | null> {
    return this.#ended;
  }

  kill(): void {
    if (this.#child?.exitCode === null) this.#child.kill("SIGKILL");
  }
}

function parsed(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { event: "text", message: line };
  }
}

/** Asks again until there is an answer. `timeoutMs`: see Patience. */
export async function until<T>(
  probe: () => T | undefined | Promise<T | undefined>,
  problem: () => string,
  timeoutMs = 30_000,
): Promise<T> {
  const patience = new Patience(timeoutMs);
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    if (patience.isOver()) throw new Error(problem());
    await sleep(50);
  }
}
