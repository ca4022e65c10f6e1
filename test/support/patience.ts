/**
 * How long a test waits for something. Time in which this process itself did not run counts for a
 * moment only: on a machine that is shared, others may stop it for a minute, and what it waits for
 * was stopped with it.
 */
const LOOK_MS_MAX = 1000;

export class Patience {
  #leftMs: number;
  #lookedAtMs = performance.now();

  constructor(ms: number) {
    this.#leftMs = ms;
  }

  /** To be asked again and again, between two looks. */
  isOver(): boolean {
    const nowMs = performance.now();
    this.#leftMs -= Math.min(nowMs - this.#lookedAtMs, LOOK_MS_MAX);
    this.#lookedAtMs = nowMs;
    return this.#leftMs < 0;
  }
}
