/**
 * A limit on bytes a second: how many more may be sent by now. Pure. The bucket holds a quarter of
 * a second, so that a target that was idle does not burst.
 */
const BUCKET_SECONDS = 0.25;
const BUCKET_BYTES_MIN = 64 * 1024;

export class Bandwidth {
  #bytesPerSecond: number | undefined;
  #tokens = 0;
  #atMs: number | undefined;
  #sent = 0;

  /** Undefined: no limit. */
  constructor(bytesPerSecond: number | undefined) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** From now on. */
  limit(bytesPerSecond: number | undefined): void {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** `sentTotal`: bytes sent so far, which only grow. Below 1 nothing may be sent. */
  allowance(nowMs: number, sentTotal: number): number {
    const sent = sentTotal - this.#sent;
    this.#sent = sentTotal;
    const rate = this.#bytesPerSecond;
    if (rate === undefined) return Number.POSITIVE_INFINITY;
    const seconds = (nowMs - (this.#atMs ?? nowMs)) / 1000;
    this.#atMs = nowMs;
    const bucket = Math.max(rate * BUCKET_SECONDS, BUCKET_BYTES_MIN);
    // A frame larger than the bucket is sent whole, and paid for by waiting.
    this.#tokens = Math.min(this.#tokens - sent + rate * seconds, bucket);
    return Math.floor(this.#tokens);
  }
}
