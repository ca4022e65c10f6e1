/**
 * How far the copy is behind, in time: an LSN that was first seen at one moment and is found
 * applied at another was that long on its way. Pure; fed by a sampler, whose period is its
 * resolution.
 */

interface Sample {
  readonly atMs: number;
  readonly head: number;
}

export interface LagFigures {
  /** Age of the oldest op that is not applied. */
  readonly nowMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Every other sample is dropped when there are more: the resolution halves, the memory stays. */
const SAMPLES_MAX = 4096;
/** Buckets of the histogram: each 10 % wider than the one before, from 1 ms to hours. */
const BUCKET_GROWTH = 1.1;
const BUCKETS = 180;

export class LagTracker {
  #samples: Sample[] = [];
  #headSeen = 0;
  #doneUpTo = 0;
  #nowMs = 0;
  #maxMs = 0;
  #appliedSeen = -1;
  #progressAtMs = 0;
  #stalledMs = 0;
  readonly #opsByBucket = new Float64Array(BUCKETS);

  observe(atMs: number, head: number, applied: number): void {
    if (head > this.#headSeen) {
      this.#samples.push({ atMs, head });
      this.#headSeen = head;
      if (this.#samples.length > SAMPLES_MAX) this.#thin();
    }
    this.#retire(atMs, applied);
    const oldest = this.#samples[0];
    this.#nowMs = oldest === undefined ? 0 : atMs - oldest.atMs;
    this.#maxMs = Math.max(this.#maxMs, this.#nowMs);
    if (applied !== this.#appliedSeen || applied >= head) this.#progressAtMs = atMs;
    this.#appliedSeen = applied;
    this.#stalledMs = atMs - this.#progressAtMs;
  }

  /** For how long ops have waited and none was applied. */
  get stalledMs(): number {
    return this.#stalledMs;
  }

  #retire(atMs: number, applied: number): void {
    let count = 0;
    for (const { atMs: seenMs, head } of this.#samples) {
      if (head > applied) break;
      this.#count(atMs - seenMs, head - this.#doneUpTo);
      this.#doneUpTo = head;
      count += 1;
    }
    if (count > 0) this.#samples.splice(0, count);
  }

  #count(lagMs: number, ops: number): void {
    this.#maxMs = Math.max(this.#maxMs, lagMs);
    const bucket = Math.ceil(Math.log(Math.max(lagMs, 1)) / Math.log(BUCKET_GROWTH));
    const index = Math.min(bucket, BUCKETS - 1);
    this.#opsByBucket[index] = (this.#opsByBucket[index] ?? 0) + ops;
  }

  #thin(): void {
    const last = this.#samples.length - 1;
    this.#samples = this.#samples.filter((_, index) => index % 2 === 0 || index === last);
  }

  figures(): LagFigures {
    return {
      nowMs: this.#nowMs,
      p50Ms: this.#quantile(0.5),
      p99Ms: this.#quantile(0.99),
      maxMs: this.#maxMs,
    };
  }

  #quantile(share: number): number {
    const total = this.#opsByBucket.reduce((sum, ops) => sum + ops, 0);
    let seen = 0;
    for (const [bucket, ops] of this.#opsByBucket.entries()) {
      seen += ops;
      if (ops > 0 && seen >= total * share) {
        return Math.min(BUCKET_GROWTH ** bucket, this.#maxMs);
      }
    }
    return 0;
  }
}
