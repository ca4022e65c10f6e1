/**
 * Open descriptors of the files beneath, shared by the threads of one engine (descriptors belong to
 * the process): a set-associative cache keyed by inode number, bounded, with use counts, so that
 * none is closed in use and a removed file's space is given back at once.
 *
 * An entry's word: -1 being changed, else the number of users.
 */

const WAYS = 8;
const CHANGING = -1;

export class DescriptorCache {
  readonly #sets: number;
  readonly #uses: Int32Array;
  readonly #fds: Int32Array;
  readonly #inos: Float64Array;
  readonly #clock: Int32Array;
  readonly #close: (fd: number) => void;

  constructor(shared: SharedArrayBuffer, close: (fd: number) => void) {
    const entries = shared.byteLength / 20;
    this.#sets = entries / WAYS;
    this.#inos = new Float64Array(shared, 0, entries);
    this.#uses = new Int32Array(shared, entries * 8, entries);
    this.#fds = new Int32Array(shared, entries * 12, entries);
    this.#clock = new Int32Array(shared, entries * 16, entries);
    this.#close = close;
  }

  /** Memory for a cache of `entries` descriptors, a power of two from 8 on. */
  static allocate(entries: number): SharedArrayBuffer {
    return new SharedArrayBuffer(entries * 20);
  }

  #set(ino: number): number {
    const mixed = Math.imul(ino | 0, 0x9e3779b1) ^ Math.floor(ino / 4294967296);
    return ((mixed >>> 17) % this.#sets) * WAYS;
  }

  /**
   * Returns the index of the entry that holds `ino`, with one more user, or -1. Read its descriptor
   * by {@link fd}.
   */
  acquire(ino: number): number {
    const set = this.#set(ino);
    for (let i = set; i < set + WAYS; i++) {
      if (this.#inos[i] !== ino) continue;
      if (!this.#use(i)) continue;
      if (this.#inos[i] === ino) return i;
      this.release(i);
    }
    return -1;
  }

  #use(index: number): boolean {
    let uses = Atomics.load(this.#uses, index);
    while (uses !== CHANGING) {
      const seen = Atomics.compareExchange(this.#uses, index, uses, uses + 1);
      if (seen === uses) {
        this.#clock[index] = 1;
        return true;
      }
      uses = seen;
    }
    return false;
  }

  fd(index: number): number {
    return this.#fds[index] as number;
  }

  /**
   * The user of the entry is done. An entry that was purged meanwhile is closed by its last user.
   */
  release(index: number): void {
    const left = Atomics.sub(this.#uses, index, 1) - 1;
    if (left === 0 && this.#inos[index] === 0) this.#closeIfUnused(index);
  }

  #closeIfUnused(index: number): void {
    if (Atomics.compareExchange(this.#uses, index, 0, CHANGING) !== 0) return;
    const fd = this.#fds[index] as number;
    if (this.#inos[index] === 0 && fd > 0) {
      this.#fds[index] = 0;
      this.#close(fd);
    }
    Atomics.store(this.#uses, index, 0);
  }

  /**
   * Takes over `fd` for `ino`, with one user. Returns its entry's index, or -1 when every entry
   * that could take it is in use: the caller then closes `fd` itself.
   */
  insert(ino: number, fd: number): number {
    const set = this.#set(ino);
    for (let round = 0; round < 2; round++) {
      for (let i = set; i < set + WAYS; i++) {
        if (round === 0 && this.#clock[i] !== 0) {
          this.#clock[i] = 0;
          continue;
        }
        if (Atomics.compareExchange(this.#uses, i, 0, CHANGING) !== 0) continue;
        const old = this.#fds[i] as number;
        this.#inos[i] = ino;
        this.#fds[i] = fd;
        this.#clock[i] = 1;
        Atomics.store(this.#uses, i, 1);
        if (old > 0) this.#close(old);
        return i;
      }
    }
    return -1;
  }

  /** Forgets and closes what is open of `ino` (at once, or by its last user). */
  purge(ino: number): void {
    const set = this.#set(ino);
    for (let i = set; i < set + WAYS; i++) {
      if (this.#inos[i] !== ino || !this.#use(i)) continue;
      if (this.#inos[i] === ino) this.#inos[i] = 0;
      this.release(i);
    }
  }
}
