/**
 * Which directories have a default ACL, so that creating a file in one that has none costs no
 * system call. Each worker keeps its own notes; all of them are dropped when any worker changes
 * such an ACL anywhere.
 */
const NOTES_MAX = 4096;

export class DefaultAcls {
  readonly #generation: Int32Array;
  readonly #notes = new Map<number, boolean>();
  #seen = 0;

  /** `shared`: memory of {@link DefaultAcls.allocate}, the same for all threads. */
  constructor(shared: SharedArrayBuffer) {
    this.#generation = new Int32Array(shared);
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(4);
  }

  /** Whether the directory has one, or undefined: look. Never false for one that has. */
  known(ino: number): boolean | undefined {
    const generation = Atomics.load(this.#generation, 0);
    if (generation !== this.#seen) {
      this.#notes.clear();
      this.#seen = generation;
    }
    return this.#notes.get(ino);
  }

  learn(ino: number, has: boolean): void {
    if (this.#notes.size >= NOTES_MAX) this.#notes.clear();
    this.#notes.set(ino, has);
  }

  /** A default ACL was set, removed or inherited. Call before the change is answered. */
  changed(): void {
    Atomics.add(this.#generation, 0, 1);
  }
}
