/**
 * Time and timers. Everything above takes a {@link Clock}, so that tests decide what time it is.
 */
import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";

export interface Clock {
  /** Milliseconds that only grow, from an arbitrary start. */
  monotonicMs(): number;
  /** Milliseconds since 1970. */
  wallMs(): number;
  /** Ends early, without an error, when `signal` is aborted. */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  // Imported: the global of that name is looked up at each use.
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  async sleep(durationMs, signal) {
    try {
      await delay(durationMs, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      if ((error as Error).name !== "AbortError") throw error;
    }
  },
};

/**
 * Calls `tick` every `periodMs` until `signal` is aborted; the next call waits for the one before
 * it.
 */
export async function repeat(
  clock: Clock,
  periodMs: number,
  signal: AbortSignal,
  tick: () => void | Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    await tick();
    await clock.sleep(periodMs, signal);
  }
}

/** Settles like `work`, or rejects with `error()` after `timeoutMs`. */
export async function withTimeout<T>(
  clock: Clock,
  timeoutMs: number,
  work: Promise<T>,
  error: () => Error,
): Promise<T> {
  const done = new AbortController();
  const late = clock.sleep(timeoutMs, done.signal).then((): never | undefined => {
    if (done.signal.aborted) return undefined;
    throw error();
  });
  try {
    return (await Promise.race([work, late])) as T;
  } finally {
    done.abort();
  }
}
