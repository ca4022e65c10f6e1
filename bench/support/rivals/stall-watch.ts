/**
 * Notices that this process stood still, as when a benchmark of somebody else stopped it: what was
 * measured meanwhile says nothing. It watches in a thread of its own, so that an application's
 * call that hangs in a mount is not taken for it.
 */
import { isMainThread, parentPort, Worker } from "node:worker_threads";

const TICK_MS = 50;

export class StallWatch {
  readonly #worker = new Worker(new URL(import.meta.url));
  #longestMs = 0;

  constructor() {
    this.#worker.on("message", (gapMs: number) => {
      this.#longestMs = Math.max(this.#longestMs, gapMs);
    });
    this.#worker.unref();
  }

  /** Longest stop since the last call, in ms. */
  takeLongestMs(): number {
    const longest = this.#longestMs;
    this.#longestMs = 0;
    return longest;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}

function watch(): void {
  let lastMs = performance.now();
  let longestMs = 0;
  setInterval(() => {
    const now = performance.now();
    longestMs = now - lastMs - TICK_MS;
    lastMs = now;
    if (longestMs > TICK_MS) parentPort?.postMessage(longestMs);
  }, TICK_MS);
}

if (!isMainThread) watch();
