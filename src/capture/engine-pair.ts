/**
 * The engine that serves, and a spare that waits: started, loaded and idle, so that the death of
 * the first costs the applications milliseconds and not the start of a process.
 *
 * An engine serves when it reads a line on its stdin; a spare whose stdin ends (its keeper is gone)
 * ends too.
 */
import { type Clock, systemClock } from "../platform/clock.ts";
import {
  type ChildProcess,
  identify,
  type ProcessIdentity,
  startScript,
} from "../platform/processes.ts";
import type { EngineConfig, EngineOrder } from "./engine-config.ts";

/**
 * A spare is started when the engine before it has settled: they would only slow each other down.
 */
const SPARE_DELAY_MS = 700;
/** A spare that dies while it waits is not started again in a hurry. */
const SPARE_RETRY_MS = 5000;

export interface EngineEnd {
  readonly pid: number;
  readonly code: number | null;
  readonly signal: string | null;
  readonly livedMs: number;
}

export interface EnginePairOptions {
  readonly config: EngineConfig;
  /** Descriptors that the engines inherit, from number 3 on. */
  readonly descriptors: readonly number[];
  readonly onServing: (engine: ProcessIdentity) => void;
  /** The serving engine has ended; the pair does nothing further until {@link EnginePair.serve}. */
  readonly onEnd: (end: EngineEnd) => void;
  readonly onFailedStart: (message: string) => void;
  readonly clock?: Clock;
}

export class EnginePair {
  readonly #options: EnginePairOptions;
  readonly #clock: Clock;
  #spare: ChildProcess | undefined;
  #serving: ChildProcess | undefined;
  #servingSinceMs = 0;
  #isStopped = false;

  constructor(options: EnginePairOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Starts an engine that waits. */
  prepare(): void {
    if (this.#spare !== undefined || this.#isStopped) return;
    const engine = startScript({
      base: import.meta.url,
      script: "./engine-process.ts",
      config: this.#options.config,
      stdio: ["pipe", "inherit", "inherit", ...this.#options.descriptors],
      detached: false,
    });
    this.#spare = engine;
    // A spare that died is noticed by its exit; that its pipe broke is no news.
    engine.stdin?.on("error", () => {});
    engine.once("exit", (code, signal) => this.#onExit(engine, code, signal));
    engine.once("error", (error) => {
      this.#options.onFailedStart(error.message);
      if (engine.pid === undefined) this.#onExit(engine, null, null);
    });
  }

  /** Lets the spare serve (or the next engine, as soon as it is up), and prepares another. */
  serve(order: EngineOrder): void {
    this.prepare();
    const engine = this.#spare;
    if (engine === undefined || this.#serving !== undefined) return;
    this.#spare = undefined;
    this.#serving = engine;
    this.#servingSinceMs = this.#clock.monotonicMs();
    engine.stdin?.write(`${JSON.stringify(order)}\n`);
    const identity = identify(engine.pid ?? 0);
    if (identity !== undefined) this.#options.onServing(identity);
    this.#prepareAfter(SPARE_DELAY_MS);
  }

  /** The spare has nothing to wait for any more. */
  stop(): void {
    this.#isStopped = true;
    this.#spare?.stdin?.end();
    this.#spare = undefined;
  }

  /** For an engine that does not end by itself. */
  kill(): void {
    this.#serving?.kill("SIGKILL");
  }

  /**
   * Kills the engine that serves, whose end is not reported, and stops. Settles when it is gone:
   * another may serve its connections.
   */
  async retire(): Promise<void> {
    this.stop();
    const engine = this.#serving;
    this.#serving = undefined;
    if (engine === undefined) return;
    const gone = new Promise((resolve) => engine.once("exit", resolve));
    engine.kill("SIGKILL");
    await gone;
  }

  #prepareAfter(ms: number): void {
    void this.#clock.sleep(ms).then(() => this.prepare());
  }

  #onExit(engine: ChildProcess, code: number | null, signal: string | null): void {
    if (engine === this.#spare) {
      this.#spare = undefined;
      this.#prepareAfter(SPARE_RETRY_MS);
      return;
    }
    if (engine !== this.#serving) return;
    this.#serving = undefined;
    const livedMs = Math.round(this.#clock.monotonicMs() - this.#servingSinceMs);
    this.#options.onEnd({ pid: engine.pid ?? 0, code, signal, livedMs });
  }
}
