/**
 * Which of an engine's workers wait for requests. Two do, or half as many as there are processors;
 * the others are parked, and take a place when all who have one are in what may take long (fsync, a
 * large copy). So those that serve are warm, in compiled code and caches, and no number of slow
 * requests stops the others. (All waiting at once, the kernel would wake them in turn, each with
 * its own cold copy of everything; and with one alone a parked one had to be woken for each sync.)
 */
/** Words of the shared memory, i32 each. Workers that wait for requests, or have one in hand. */
const SERVING = 0;
/** Of those that serve, how many have a request in hand. */
const BUSY = 1;
/** Places that were handed out and not yet taken up by a parked worker; they count as serving. */
const TICKETS = 2;
const PARKED = 3;
/** Requests begun, ever. */
const BEGUN = 4;
/** Requests in hand, those of slow workers too. */
const IN_HAND = 5;

/** For so many processors: the applications that are served need them too. */
export function servingMax(processors: number): number {
  return Math.max(2, Math.floor(processors / 2));
}

export class WorkerPool {
  readonly #words: Int32Array;
  readonly #servingMax: number;
  #hasRequest = false;
  /** The place was handed over. */
  #isSlow = false;
  #begunSeen = 0;

  /** `shared`: memory of {@link WorkerPool.allocate}, the same for all threads. */
  constructor(shared: SharedArrayBuffer, servingMax: number) {
    this.#words = new Int32Array(shared);
    this.#servingMax = servingMax;
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(24);
  }

  /** A worker joins: it serves, or parks here until it is needed. Blocks the thread. */
  join(): void {
    const words = this.#words;
    if (Atomics.add(words, SERVING, 1) < this.#servingMax) return;
    this.#leave();
    Atomics.add(words, PARKED, 1);
    // A place that became free between the two found nobody parked.
    if (Atomics.load(words, SERVING) < this.#servingMax) this.#callOne();
    for (;;) {
      const tickets = Atomics.load(words, TICKETS);
      if (tickets === 0) Atomics.wait(words, TICKETS, 0);
      else if (Atomics.compareExchange(words, TICKETS, tickets, tickets - 1) === tickets) break;
    }
    Atomics.sub(words, PARKED, 1);
  }

  #leave(): void {
    Atomics.sub(this.#words, SERVING, 1);
  }

  /** Hands a place to a parked worker, if there is one. */
  #callOne(): void {
    const words = this.#words;
    if (Atomics.load(words, PARKED) <= Atomics.load(words, TICKETS)) return;
    Atomics.add(words, SERVING, 1);
    Atomics.add(words, TICKETS, 1);
    Atomics.notify(words, TICKETS, 1);
  }

  /** Whether nobody has a request in hand, slow ones included. */
  get isIdle(): boolean {
    return Atomics.load(this.#words, IN_HAND) === 0;
  }

  /** A request is in hand. */
  begin(): void {
    this.#hasRequest = true;
    Atomics.add(this.#words, BUSY, 1);
    Atomics.add(this.#words, BEGUN, 1);
    Atomics.add(this.#words, IN_HAND, 1);
  }

  /**
   * What follows may take long. Where another worker waits for requests the place is kept: to wake
   * a parked one costs more than most syncs. Else a parked one takes it.
   */
  beforeSlow(): void {
    const words = this.#words;
    if (!this.#hasRequest || this.#isSlow) return;
    if (Atomics.load(words, SERVING) > Atomics.load(words, BUSY)) return;
    this.#isSlow = true;
    Atomics.sub(words, BUSY, 1);
    this.#leave();
    if (Atomics.load(words, SERVING) < this.#servingMax) this.#callOne();
  }

  /**
   * The request in hand was answered. May block: the place is somebody else's by now, or there are
   * too many.
   */
  end(): void {
    if (!this.#hasRequest) return;
    this.#hasRequest = false;
    Atomics.sub(this.#words, IN_HAND, 1);
    if (this.#isSlow) {
      this.#isSlow = false;
      this.join();
      return;
    }
    Atomics.sub(this.#words, BUSY, 1);
    if (Atomics.load(this.#words, SERVING) <= this.#servingMax) return;
    this.#leave();
    this.join();
  }

  /**
   * For a watcher, called now and then: when all who serve have a request in hand and nobody began
   * one since the last call, they are stuck in something that was not known to be slow; one more is
   * called. Returns whether to look again soon: they may be, or may become so.
   */
  relieve(): boolean {
    const words = this.#words;
    const begun = Atomics.load(words, BEGUN);
    const isStill = begun === this.#begunSeen;
    this.#begunSeen = begun;
    if (Atomics.load(words, BUSY) < Atomics.load(words, SERVING)) return false;
    if (isStill) this.#callOne();
    return true;
  }
}
