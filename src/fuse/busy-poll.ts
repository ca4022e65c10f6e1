/**
 * Stays awake for a moment when a request has been answered, since the next one is often there
 * before a thread could have gone to sleep and been woken: who makes a file asks three times, and
 * waits each time. It costs processor time that nobody else wants: as soon as another thread runs
 * on this processor meanwhile, or when requests have not come in time of late, it gives up.
 * (After KVM's halt polling, which does the same for a guest's processors.)
 */

/** Longer than the way back to the caller and to its next request takes. */
const AWAKE_MS = 0.05;
/** A turn of the loop takes a microsecond; a longer one means that somebody else ran. */
const OTHERS_RAN_MS = 0.01;
/** So many misses in a row, at most, until it only tries now and then. */
const HOPE_MAX = 8;
/** Without hope one wait of so many is tried, to see whether times have changed. */
const TRY_EVERY = 16;

export interface BusyPollOptions {
  /** Whether a request waits, or the connection is gone. */
  readonly isReady: () => boolean;
  /** Lets others run on this processor. */
  readonly yieldProcessor: () => void;
  readonly monotonicMs: () => number;
}

export class BusyPoll {
  readonly #options: BusyPollOptions;
  #hope = HOPE_MAX;
  #skipped = 0;

  constructor(options: BusyPollOptions) {
    this.#options = options;
  }

  /** Returns when a request is there, or when it is better to sleep until one comes. */
  wait(): void {
    if (this.#hope === 0 && ++this.#skipped < TRY_EVERY) return;
    this.#skipped = 0;
    this.#hope = this.#comes() ? Math.min(this.#hope + 1, HOPE_MAX) : Math.max(this.#hope - 1, 0);
  }

  #comes(): boolean {
    const { isReady, yieldProcessor, monotonicMs } = this.#options;
    const start = monotonicMs();
    for (let before = start; ; ) {
      if (isReady()) return true;
      yieldProcessor();
      const now = monotonicMs();
      if (now - before >= OTHERS_RAN_MS || now - start >= AWAKE_MS) return false;
      before = now;
    }
  }
}
