/**
 * Locks by inode number, shared by the threads of one engine: a table of mutexes, inodes hashed to
 * them. It lives in the engine's own memory, so an engine that dies takes its locks along and the
 * next one starts clean.
 *
 * A mutex is one word: 0 free, 1 taken, 2 taken and somebody sleeps (Drepper, "Futexes Are
 * Tricky").
 */

const FREE = 0;
const TAKEN = 1;
const CONTENDED = 2;
/**
 * Looks before sleeping, 15 ns each: about as long as a write under the lock takes. To sleep and be
 * woken takes longer, for both.
 */
const SPINS = 1000;

/** A power of two. */
const STRIPES = 4096;
/** Of one {@link LockTable.lockAll}. */
const LOCKS_MAX = 4;

export class LockTable {
  readonly #words: Int32Array;
  /** Stripes of the locks in hand, ascending. (An array that shrinks and grows costs more.) */
  readonly #held = new Int32Array(LOCKS_MAX);
  #heldCount = 0;

  /** `shared`: memory of {@link LockTable.allocate}, the same for all threads. */
  constructor(shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared);
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(STRIPES * 4);
  }

  #stripe(ino: number): number {
    const mixed = Math.imul(ino | 0, 0x9e3779b1) ^ Math.floor(ino / 4294967296);
    return (mixed >>> 16) & (STRIPES - 1);
  }

  /** One lock, or one {@link lockAll}, at a time per instance. */
  lock(ino: number): void {
    const stripe = this.#stripe(ino);
    this.#take(stripe);
    this.#held[0] = stripe;
    this.#heldCount = 1;
  }

  unlock(_ino: number): void {
    this.unlockAll();
  }

  /**
   * Takes the locks of several inodes at once, in the order of their stripes, so that two threads
   * that want the same ones cannot wait for each other. 0 stands for none.
   */
  lockAll(a: number, b: number, c: number, d: number): void {
    this.#want(a);
    this.#want(b);
    this.#want(c);
    this.#want(d);
    for (let i = 0; i < this.#heldCount; i++) this.#take(this.#held[i] as number);
  }

  /** Puts the stripe in its place among those that will be taken; each is taken once. */
  #want(ino: number): void {
    if (ino === 0) return;
    const held = this.#held;
    const stripe = this.#stripe(ino);
    let at = this.#heldCount;
    while (at > 0 && (held[at - 1] as number) > stripe) at -= 1;
    if (at > 0 && held[at - 1] === stripe) return;
    for (let i = this.#heldCount; i > at; i--) held[i] = held[i - 1] as number;
    held[at] = stripe;
    this.#heldCount += 1;
  }

  unlockAll(): void {
    for (let i = 0; i < this.#heldCount; i++) this.#give(this.#held[i] as number);
    this.#heldCount = 0;
  }

  #take(stripe: number): void {
    const words = this.#words;
    for (let spin = 0; spin < SPINS; spin++) {
      // A look leaves the word in the holder's cache; a try would take it away.
      if (Atomics.load(words, stripe) !== FREE) continue;
      if (Atomics.compareExchange(words, stripe, FREE, TAKEN) === FREE) return;
    }
    while (Atomics.exchange(words, stripe, CONTENDED) !== FREE) {
      Atomics.wait(words, stripe, CONTENDED);
    }
  }

  #give(stripe: number): void {
    if (Atomics.exchange(this.#words, stripe, FREE) === CONTENDED) {
      Atomics.notify(this.#words, stripe, 1);
    }
  }
}
