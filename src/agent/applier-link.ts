/**
 * The agent's hold on the applier, its child: starts it again whenever it dies, and gives a new one
 * the commands that the dead one had not answered. The applier itself is kill-safe; nothing is lost
 * with it.
 */

import { StandinError } from "../base/errors.ts";
import type { Clock } from "../platform/clock.ts";
import { closeSync, openForAppend } from "../platform/files.ts";
import { JsonLineParser } from "../platform/json-lines.ts";
import {
  type ChildProcess,
  identify,
  type ProcessIdentity,
  startScript,
} from "../platform/processes.ts";

export type ApplierEvent = Record<string, unknown>;

export type ApplierCommand =
  | { readonly command: "flush"; readonly lsn: number }
  | { readonly command: "mirror" }
  | { readonly command: "verify"; readonly repair: boolean };

interface Pending {
  readonly command: ApplierCommand;
  readonly resolve: (answer: ApplierEvent) => void;
  readonly reject: (error: Error) => void;
}

/** A life this long ends a series of quick deaths. */
const GOOD_LIFE_MS = 1000;
const PAUSE_MS_MAX = 5000;
const STOP_TIMEOUT_MS = 10_000;

export class ApplierLink {
  readonly #clock: Clock;
  readonly #logFile: string;
  readonly #config: unknown;
  readonly #listener: (event: ApplierEvent) => void;
  readonly #pending = new Map<number, Pending>();
  #child: ChildProcess | undefined;
  #process: ProcessIdentity | undefined;
  #startedAtMs = 0;
  #starts = 0;
  #quickDeaths = 0;
  #nextId = 1;
  #isPaused = false;
  #isStopping = false;
  #lastDeath: string | undefined;

  constructor(options: {
    readonly clock: Clock;
    readonly logFile: string;
    readonly config: unknown;
    readonly listener: (event: ApplierEvent) => void;
  }) {
    this.#clock = options.clock;
    this.#logFile = options.logFile;
    this.#config = options.config;
    this.#listener = options.listener;
  }

  get process(): ProcessIdentity | undefined {
    return this.#process;
  }
  get starts(): number {
    return this.#starts;
  }
  /** How the last one ended, while none has lived well since. */
  get lastDeath(): string | undefined {
    const livedMs = this.#clock.monotonicMs() - this.#startedAtMs;
    const livesWell = this.#process !== undefined && livedMs >= GOOD_LIFE_MS;
    return livesWell ? undefined : this.#lastDeath;
  }

  start(): void {
    const stderr = openForAppend(this.#logFile);
    const child = startScript({
      base: import.meta.url,
      script: "./applier-process.ts",
      config: this.#config,
      stdio: ["pipe", "pipe", stderr],
      detached: true,
    });
    closeSync(stderr);
    this.#child = child;
    this.#starts += 1;
    this.#startedAtMs = this.#clock.monotonicMs();
    this.#process = identify(child.pid ?? 0);
    const parser = new JsonLineParser((event) => this.#onEvent(event));
    child.stdout?.on("data", (chunk: Buffer) => parser.push(chunk));
    // A write to an applier that is just dying: its successor gets the command again.
    child.stdin?.on("error", () => {});
    child.once("exit", (code, signal) => void this.#onExit(child, signal ?? `exit code ${code}`));
    child.once("error", (error) => {
      if (child.pid === undefined) void this.#onExit(child, error.message);
    });
    if (this.#isPaused) this.#write({ command: "pause" });
    for (const [id, { command }] of this.#pending) this.#write({ ...command, id });
    this.#listener({ event: "applier-started" });
  }

  async #onExit(child: ChildProcess, how: string): Promise<void> {
    if (this.#child !== child) return;
    this.#child = undefined;
    this.#process = undefined;
    if (this.#isStopping) return;
    this.#lastDeath = how;
    const livedMs = this.#clock.monotonicMs() - this.#startedAtMs;
    this.#quickDeaths = livedMs >= GOOD_LIFE_MS ? 0 : this.#quickDeaths + 1;
    this.#listener({ event: "applier-died", how });
    const pauseMs = Math.min(this.#quickDeaths ** 2 * 20, PAUSE_MS_MAX);
    if (pauseMs > 0) await this.#clock.sleep(pauseMs);
    if (!this.#isStopping) this.start();
  }

  /** Settles when the applier, or a successor of it, has done the work. */
  request(command: ApplierCommand, signal?: AbortSignal): Promise<ApplierEvent> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { command, resolve, reject });
      const give = () => {
        this.#pending.delete(id);
        reject(new StandinError("ABORTED", `${command.command} was given up`));
      };
      if (signal?.aborted === true) return give();
      signal?.addEventListener("abort", give, { once: true });
      this.#write({ ...command, id });
    });
  }

  setPaused(isPaused: boolean): void {
    this.#isPaused = isPaused;
    this.#write({ command: isPaused ? "pause" : "resume" });
  }

  /** It will perhaps be stopped soon: what that would have to wait for is done now. */
  prepareStop(): void {
    this.#write({ command: "checkpoint" });
  }

  /** Ends it in an orderly way; by force when it does not answer. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const [id, { reject }] of this.#pending) {
      this.#pending.delete(id);
      reject(new StandinError("STOPPED", "the instance was stopped"));
    }
    const child = this.#child;
    if (child === undefined) return;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    this.#write({ command: "stop" });
    child.stdin?.end();
    const timeout = new AbortController();
    await Promise.race([ended, this.#clock.sleep(STOP_TIMEOUT_MS, timeout.signal)]);
    timeout.abort();
    if (this.#child === child) child.kill("SIGKILL");
  }

  #write(command: object): void {
    this.#child?.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  #onEvent(event: ApplierEvent): void {
    const id = Number(event.id ?? event.flushed);
    const pending = this.#pending.get(id);
    if (pending !== undefined && isAnswer(event)) {
      this.#pending.delete(id);
      if (event.event === "error") pending.reject(applierError(event));
      else pending.resolve(event);
    }
    this.#listener(event);
  }
}

const ANSWERS: ReadonlySet<unknown> = new Set(["mirrored", "verified", "error"]);

function isAnswer(event: ApplierEvent): boolean {
  return event.flushed !== undefined || ANSWERS.has(event.event);
}

function applierError(event: ApplierEvent): StandinError {
  const code = String(event.code ?? "APPLIER_ERROR");
  const hint = typeof event.hint === "string" ? { hint: event.hint } : {};
  return new StandinError(code, String(event.message ?? "the applier failed"), hint);
}
