/**
 * Files whose last ops carry a guess of their modification time: it is owed to the ring, and the
 * mirror thread settles it soon, with an op that carries the true one. See capture/write-times.ts
 * for why, and capture/time-settler.ts.
 *
 * The table lies in the ring's memory: what an engine owed when it was killed, its successor
 * settles. Whoever changes the slot of a file holds that file's lock.
 *
 * Slot: i32 state, i32 mount, f64 inode number.
 */
import type { Ring } from "./ring.ts";
import { HeaderAt, OWED_TIME_BYTES, OWED_TIMES } from "./ring-layout.ts";

const State = {
  free: 0,
  /** A thread is about to put a file here; nothing was recorded of it yet. */
  claimed: 1,
  owed: 2,
} as const;

/** A file's slot is one of so many, one behind the other. */
const PROBES = 4;
const NONE = -1;
/** 32-bit words of a slot. */
const WORDS = OWED_TIME_BYTES / 4;

export interface OwedFile {
  readonly mount: number;
  readonly ino: number;
}

export class OwedTimes {
  readonly #ring: Ring;
  readonly #i32: Int32Array;
  readonly #f64: Float64Array;

  constructor(ring: Ring) {
    const { buffer } = ring.memory;
    this.#ring = ring;
    this.#i32 = new Int32Array(buffer, HeaderAt.owedTimes, OWED_TIMES * WORDS);
    this.#f64 = new Float64Array(buffer, HeaderAt.owedTimes, OWED_TIMES * (WORDS / 2));
  }

  /** For an engine that begins: a claim of a killed one stands for nothing. */
  takeOver(): void {
    for (let slot = 0; slot < OWED_TIMES; slot++) {
      if (this.#i32[slot * WORDS] === State.claimed) this.#i32[slot * WORDS] = State.free;
    }
  }

  /** Under the file's lock, before the op with the guess is published. False: there is no room. */
  owe(mount: number, ino: number): boolean {
    if (this.#find(mount, ino) !== NONE) return true;
    const first = firstSlot(ino);
    for (let probe = 0; probe < PROBES; probe++) {
      const slot = (first + probe) % OWED_TIMES;
      const at = slot * WORDS;
      const before = Atomics.compareExchange(this.#i32, at, State.free, State.claimed);
      if (before !== State.free) continue;
      this.#i32[at + 1] = mount;
      this.#f64[(at + 2) / 2] = ino;
      Atomics.store(this.#i32, at, State.owed);
      return true;
    }
    return false;
  }

  /** Under the file's lock. */
  isOwed(mount: number, ino: number): boolean {
    return this.#find(mount, ino) !== NONE;
  }

  /** Under the file's lock: it is settled. */
  clear(mount: number, ino: number): void {
    const slot = this.#find(mount, ino);
    if (slot !== NONE) Atomics.store(this.#i32, slot * WORDS, State.free);
  }

  /** What is owed. Without the locks: some may have been settled meanwhile. */
  files(): OwedFile[] {
    const files: OwedFile[] = [];
    for (let at = 0; at < this.#i32.length; at += WORDS) {
      if (Atomics.load(this.#i32, at) !== State.owed) continue;
      files.push({ mount: this.#i32[at + 1] as number, ino: this.#f64[(at + 2) / 2] as number });
    }
    return files;
  }

  get isEmpty(): boolean {
    for (let at = 0; at < this.#i32.length; at += WORDS) {
      if (Atomics.load(this.#i32, at) !== State.free) return false;
    }
    return true;
  }

  /** Rounds in which all that was owed at their beginning was settled. */
  get rounds(): number {
    return this.#ring.word(HeaderAt.settleRound);
  }
  countRound(): void {
    this.#ring.addWord(HeaderAt.settleRound, 1);
  }

  #find(mount: number, ino: number): number {
    const first = firstSlot(ino);
    for (let probe = 0; probe < PROBES; probe++) {
      const slot = (first + probe) % OWED_TIMES;
      const at = slot * WORDS;
      // The state first: what it says was stored before it, and what was ours can only change
      // under the lock that the caller holds.
      if (Atomics.load(this.#i32, at) !== State.owed) continue;
      if (this.#f64[(at + 2) / 2] === ino && this.#i32[at + 1] === mount) return slot;
    }
    return NONE;
  }
}

function firstSlot(ino: number): number {
  const mixed = Math.imul(ino | 0, 0x85ebca6b);
  return (mixed ^ (mixed >>> 15)) & (OWED_TIMES - 1);
}
