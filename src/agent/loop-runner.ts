/** One life-cycle for all loops of the agent: start in order, stop in reverse, restart. */
import { type Clock, withTimeout } from "../platform/clock.ts";
import type { AgentLog } from "./agent-log.ts";
import type { Loop } from "./loop.ts";

const DRAIN_MS = 60_000;
const STOP_MS = 15_000;
const RESTART_FIRST_MS = 1000;
const RESTART_LAST_MS = 60_000;
/** A loop that ran so long was well: the next pause is short again. */
const WELL_MS = 600_000;

export type LoopState = "starting" | "running" | "broken" | "stopped";

interface Entry {
  readonly loop: Loop;
  state: LoopState;
  startedMs: number;
  pauseMs: number;
  restart: Promise<void>;
}

export class LoopRunner {
  readonly #clock: Clock;
  readonly #log: AgentLog;
  readonly #entries: Entry[] = [];
  readonly #stopping = new AbortController();

  constructor(clock: Clock, log: AgentLog) {
    this.#clock = clock;
    this.#log = log;
  }

  /** States by name, for status. */
  states(): Record<string, LoopState> {
    return Object.fromEntries(this.#entries.map(({ loop, state }) => [loop.name, state]));
  }

  /** Starts a loop behind those that run. One that does not start is stopped; its error thrown. */
  async start(loop: Loop): Promise<void> {
    const restart = Promise.resolve();
    const pauseMs = RESTART_FIRST_MS;
    const entry: Entry = { loop, state: "starting", startedMs: 0, pauseMs, restart };
    this.#entries.push(entry);
    try {
      await this.#startEntry(entry);
    } catch (error) {
      this.#entries.splice(this.#entries.indexOf(entry), 1);
      await this.#stopLoop(entry);
      throw error;
    }
  }

  /** Stops one loop and forgets it. */
  async remove(loop: Loop): Promise<void> {
    const at = this.#entries.findIndex((entry) => entry.loop === loop);
    const [entry] = at < 0 ? [] : this.#entries.splice(at, 1);
    if (entry === undefined) return;
    await this.#drainLoop(entry);
    await this.#stopLoop(entry);
  }

  /** All drain at the same time, then stop, the last one first. None is waited for without end. */
  async stopAll(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#entries.map((entry) => entry.restart));
    await Promise.all(this.#entries.map((entry) => this.#drainLoop(entry)));
    for (const entry of this.#entries.toReversed()) await this.#stopLoop(entry);
  }

  async #startEntry(entry: Entry): Promise<void> {
    entry.state = "starting";
    let isCurrent = true;
    await entry.loop.start((error) => {
      if (!isCurrent || entry.state === "stopped") return;
      isCurrent = false;
      entry.state = "broken";
      entry.restart = this.#restart(entry, error);
    });
    if (isCurrent) entry.state = "running";
    entry.startedMs = this.#clock.monotonicMs();
  }

  async #restart(entry: Entry, firstError: unknown): Promise<void> {
    const { loop } = entry;
    if (this.#clock.monotonicMs() - entry.startedMs > WELL_MS) entry.pauseMs = RESTART_FIRST_MS;
    let error = firstError;
    while (!this.#stopping.signal.aborted && this.#entries.includes(entry)) {
      const seconds = entry.pauseMs / 1000;
      this.#log.error("loop-broken", `${loop.name} broke: ${error}; again in ${seconds} s`);
      await this.#within(STOP_MS, loop.stop(), `${loop.name} does not stop`);
      await this.#clock.sleep(entry.pauseMs, this.#stopping.signal);
      entry.pauseMs = Math.min(entry.pauseMs * 2, RESTART_LAST_MS);
      if (this.#stopping.signal.aborted || entry.state === "stopped") return;
      try {
        await this.#startEntry(entry);
        this.#log.info("loop-restarted", `${loop.name} runs again`);
        return;
      } catch (next) {
        entry.state = "broken";
        error = next;
      }
    }
  }

  async #drainLoop({ loop, state }: Entry): Promise<void> {
    if (state !== "running" || loop.drain === undefined) return;
    await this.#within(DRAIN_MS, loop.drain(), `${loop.name} could not finish what it had in hand`);
  }

  async #stopLoop(entry: Entry): Promise<void> {
    entry.state = "stopped";
    await this.#within(STOP_MS, entry.loop.stop(), `${entry.loop.name} does not stop`);
  }

  /** A loop that fails or hangs must not keep the others from their end. */
  async #within(timeoutMs: number, work: Promise<void>, message: string): Promise<void> {
    try {
      await withTimeout(this.#clock, timeoutMs, work, () => new Error("time is up"));
    } catch (error) {
      this.#log.error("loop-trouble", `${message}: ${error}`);
    }
  }
}
