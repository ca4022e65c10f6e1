/** The speed of a growing count over the last few seconds. Pure. */

const WINDOW_MS = 5000;

export class RateMeter {
  readonly #samples: { readonly atMs: number; readonly count: number }[] = [];

  observe(atMs: number, count: number): void {
    this.#samples.push({ atMs, count });
    // One sample older than the window stays, so that the window is always covered.
    while ((this.#samples[1]?.atMs ?? Number.POSITIVE_INFINITY) <= atMs - WINDOW_MS) {
      this.#samples.shift();
    }
  }

  perSecond(): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return Math.max(0, ((last.count - first.count) * 1000) / (last.atMs - first.atMs));
  }
}
