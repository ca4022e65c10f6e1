/**
 * Guesses behind a write whether its file is synced next: when the last syncs each came behind the
 * same number of writes, and this write is again the last of so many. A database's log is so.
 *
 * A table by inode number, shared by the workers of a mount. They do not wait for each other here:
 * what two of them count at the same time can be lost, and makes a worse guess.
 */

/** Words of a file. Writes since it was synced last. */
const SINCE = 0;
/** Writes before that sync. */
const RUN = 1;
/** How many syncs in a row had as many before them. */
const REPEATED = 2;
/** 1 when the last sync was of data only. */
const DATA_ONLY = 3;
const WORDS = 4;

const FILES = 256;
/** So often must it have been alike. */
const REPEATED_MIN = 2;

export class SyncHabits {
  readonly #inos: Float64Array;
  readonly #words: Int32Array;

  /** `shared`: memory of {@link SyncHabits.allocate}, the same for all threads. */
  constructor(shared: SharedArrayBuffer) {
    this.#inos = new Float64Array(shared, 0, FILES);
    this.#words = new Int32Array(shared, FILES * 8, FILES * WORDS);
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(FILES * (8 + WORDS * 4));
  }

  /** First word of the file. One that had its place before is forgotten. */
  #at(ino: number): number {
    const mixed = Math.imul(ino | 0, 0x9e3779b1) ^ Math.floor(ino / 4294967296);
    const file = mixed >>> 24;
    const at = file * WORDS;
    if (this.#inos[file] !== ino) {
      this.#inos[file] = ino;
      this.#words.fill(0, at, at + WORDS);
    }
    return at;
  }

  /** The file was written. Returns whether a sync is expected next. */
  wrote(ino: number): boolean {
    const words = this.#words;
    const at = this.#at(ino);
    const since = Atomics.add(words, at + SINCE, 1) + 1;
    return (words[at + REPEATED] as number) >= REPEATED_MIN && since === words[at + RUN];
  }

  /**
   * Whether the sync that is expected has not come yet. One that is told of at the same time is
   * seen here, or its teller sees afterwards what was done before this.
   */
  isExpected(ino: number): boolean {
    const at = this.#at(ino);
    const since = Atomics.load(this.#words, at + SINCE);
    return since > 0 && since === this.#words[at + RUN];
  }

  /** Of the file's last sync. */
  isDataOnly(ino: number): boolean {
    return this.#words[this.#at(ino) + DATA_ONLY] === 1;
  }

  /** A sync was asked for. */
  synced(ino: number, dataOnly: boolean): void {
    const words = this.#words;
    const at = this.#at(ino);
    const since = Atomics.exchange(words, at + SINCE, 0);
    words[at + DATA_ONLY] = dataOnly ? 1 : 0;
    // Behind no write it tells nothing.
    if (since === 0) return;
    words[at + REPEATED] = since === words[at + RUN] ? (words[at + REPEATED] as number) + 1 : 0;
    words[at + RUN] = since;
  }
}
