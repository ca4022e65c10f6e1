/**
 * Which of an engine's workers wait for requests. A few do; the others are parked, and take a place
 * while its owner does what may take long (fsync, a large copy). So those that serve are warm, in
 * compiled code and caches, and no number of slow requests stops the others. (All waiting at once,
 * the kernel would wake them in turn, each with its own cold copy of everything.)
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
/** So many syncs to come hand their place over. */
const SHARED_SYNCS = 6;

/** After a sync during which somebody waited, so many hand it over. */
const SHARED_SYNCS_EXPECTED = 64;

export class WorkerPool {
  readonly #words: Int32Array;
  readonly #servingMax: number;
  #hasRequest = false;
  #isSlow = false;
  /** At the end of the last sync another request was there. */
  #wasAsked = false;
  #begunSeen = 0;

  /** `shared`: memory of {@link WorkerPool.allocate}, the same for all threads. */
  constructor(shared: SharedArrayBuffer, servingMax: number) {
    this.#words = new Int32Array(shared);
    this.#servingMax = servingMax;
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(28);
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

  /** A request is in hand. `isAwaited`: an application waits for its answer. */
  begin(isAwaited = true): void {
    this.#hasRequest = true;
    if (this.#wasAsked && isAwaited) {
      Atomics.store(this.#words, SHARED_SYNCS, SHARED_SYNCS_EXPECTED);
    }
    this.#wasAsked = false;
    Atomics.add(this.#words, BUSY, 1);
    Atomics.add(this.#words, BEGUN, 1);
    Atomics.add(this.#words, IN_HAND, 1);
  }

  /** What follows may take long: another worker takes the place. */
  beforeSlow(): void {
    if (!this.#hasRequest || this.#isSlow) return;
    this.#isSlow = true;
    Atomics.sub(this.#words, BUSY, 1);
    this.#leave();
    if (Atomics.load(this.#words, SERVING) < this.#servingMax) this.#callOne();
  }

  /**
   * Does what may be slow or not, a sync. To hand the place over for it pays only where others ask
   * meanwhile: it is kept as long as nobody was found waiting at the end of one. (Who comes during
   * a long one is helped by {@link relieve}.) `isAsked`: whether another request is there.
   */
  sync(work: () => number, isAsked: () => boolean): number {
    const words = this.#words;
    if (Atomics.load(words, SHARED_SYNCS) > 0) {
      Atomics.sub(words, SHARED_SYNCS, 1);
      this.beforeSlow();
      return work();
    }
    const result = work();
    this.#wasAsked = isAsked();
    return result;
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
   * For a watcher, called every few milliseconds: when all who serve have a request in hand and
   * nobody began one since the last call, they are stuck in something that was not known to be
   * slow; one more is called.
   */
  relieve(): void {
    const words = this.#words;
    const begun = Atomics.load(words, BEGUN);
    const isStill = begun === this.#begunSeen;
    this.#begunSeen = begun;
    if (isStill && Atomics.load(words, BUSY) >= Atomics.load(words, SERVING)) this.#callOne();
  }
}
