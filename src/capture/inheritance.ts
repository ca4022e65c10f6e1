/**
 * What a directory gives to new entries: its default ACL, or inode flags. Most give nothing, and
 * making a file in one of those costs no system call. Each worker keeps its own notes; all of them
 * are dropped when any worker changes what a directory gives.
 */
const NOTES_MAX = 4096;

/** A sum of these. */
export const Given = { nothing: 0, acl: 1, flags: 2 } as const;

export class Inheritance {
  readonly #generation: Int32Array;
  readonly #notes = new Map<number, number>();
  #seen = 0;

  /** `shared`: memory of {@link Inheritance.allocate}, the same for all threads. */
  constructor(shared: SharedArrayBuffer) {
    this.#generation = new Int32Array(shared);
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(4);
  }

  /** What the directory gives, or undefined: look. Never less than it does. */
  known(ino: number): number | undefined {
    const generation = Atomics.load(this.#generation, 0);
    if (generation !== this.#seen) {
      this.#notes.clear();
      this.#seen = generation;
    }
    return this.#notes.get(ino);
  }

  learn(ino: number, given: number): void {
    if (this.#notes.size >= NOTES_MAX) this.#notes.clear();
    this.#notes.set(ino, given);
  }

  /**
   * A directory gives other things than before, or is new and may. Call before the change is
   * answered.
   */
  changed(): void {
    Atomics.add(this.#generation, 0, 1);
  }
}
