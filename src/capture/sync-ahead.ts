/**
 * Begins the sync of a file behind the answer to its write, when the application is expected to
 * ask for it next (sync-habits.ts): the disk is at work while the answer and the FSYNC are on
 * their ways, a good part of the time that a commit takes.
 *
 * Such a sync covers an FSYNC when nothing has touched the file since the write behind which it
 * began. That is seen from the epoch of the file's lock (lock-table.ts), which every change takes:
 * it is read under the lock of that write, and again when the FSYNC is here.
 *
 * Each worker has a slot, for one sync at a time. Who serves the FSYNC leaves the request there,
 * and the worker that syncs answers it; to wake the other for that would cost what was gained. An
 * FSYNC that is not covered is left there, too, and synced for: the kernel tells a descriptor of a
 * failure once, and of two that sync at the same time it would tell the wrong one.
 */
import type { Request } from "../fuse/message.ts";
import { SyncHabits } from "./sync-habits.ts";

/** States of a slot, the low bits of its first word. */
const State = {
  idle: 0,
  /** Its worker fills it. */
  preparing: 1,
  syncing: 2,
  /** Somebody is about to leave a request. */
  claimed: 3,
  /** A request waits for the end of the sync. */
  awaited: 4,
  /** Synced, and not asked for yet. */
  synced: 5,
  /** It failed, and nobody was told yet: the next FSYNC of the file is. */
  failed: 6,
} as const;
const STATE_BITS = 7;
/** The rest of that word counts the syncs, so that one is never taken for another. */
const TURN = 8;

/** Words of a slot, i32 each. */
const WORD = 0;
const EPOCH = 1;
const DATA_ONLY = 2;
const RESULT = 3;
const UNIQUE_LOW = 4;
const UNIQUE_HIGH = 5;
/** What the request that waits asks for: {@link Wanted}. */
const WANTED = 6;
/** A cache line. */
const WORDS = 16;

/** Workers beyond these do without. */
const SLOTS = 64;

const Wanted = { covered: 0, dataAgain: 1, allAgain: 2 } as const;

/** The FSYNC waits for a sync that another worker is in, who will answer it. */
export const ANSWERED_LATER = 1;

export interface SyncAheadOptions {
  /** Memory of {@link SyncAhead.allocate}, the same for all threads. */
  readonly shared: SyncAheadShared;
  /** A number of this worker's own, from 0. */
  readonly worker: number;
  /** Returns 0 or `-errno`. */
  readonly sync: (fd: number, dataOnly: boolean) => number;
  /** Answers the request of this number with 0 or `-errno`. */
  readonly answer: (uniqueLow: number, uniqueHigh: number, result: number) => void;
}

export interface SyncAheadShared {
  readonly slots: SharedArrayBuffer;
  readonly habits: SharedArrayBuffer;
}

export class SyncAhead {
  readonly #words: Int32Array;
  readonly #inos: Float64Array;
  readonly #habits: SyncHabits;
  readonly #options: SyncAheadOptions;
  readonly #worker: number;
  /** Inode number of the file to sync; 0: none. */
  #planned = 0;
  #plannedEpoch = 0;

  constructor(options: SyncAheadOptions) {
    this.#options = options;
    this.#worker = options.worker;
    this.#words = new Int32Array(options.shared.slots, 0, SLOTS * WORDS);
    this.#inos = new Float64Array(options.shared.slots, SLOTS * WORDS * 4, SLOTS);
    this.#habits = new SyncHabits(options.shared.habits);
  }

  static allocate(): SyncAheadShared {
    return {
      slots: new SharedArrayBuffer(SLOTS * (WORDS * 4 + 8)),
      habits: SyncHabits.allocate(),
    };
  }

  /**
   * A file was written; `epoch` is that of its lock, read while it was held for this write. Returns
   * whether to call {@link run} when the write has been answered.
   */
  wrote(ino: number, epoch: number): boolean {
    if (!this.#habits.wrote(ino) || this.#worker >= SLOTS) return false;
    this.#planned = ino;
    this.#plannedEpoch = epoch;
    return true;
  }

  /** Whether {@link run} is to be called. */
  get isPlanned(): boolean {
    return this.#planned !== 0;
  }

  cancel(): void {
    this.#planned = 0;
  }

  /** Syncs what was written last, open as `fd`, and answers who waits for it. */
  run(fd: number): void {
    const ino = this.#planned;
    this.#planned = 0;
    // The application was faster, and another worker is at it.
    if (!this.#habits.isExpected(ino)) return;
    const dataOnly = this.#habits.isDataOnly(ino);
    const turn = this.#begin(ino, this.#plannedEpoch, dataOnly);
    if (turn < 0 || this.#isLate(ino, turn)) return;
    this.#end(turn, fd, this.#options.sync(fd, dataOnly));
  }

  /** Whether an FSYNC came that did not see the slot: it is served by its own. */
  #isLate(ino: number, turn: number): boolean {
    if (this.#habits.isExpected(ino)) return false;
    const at = this.#worker * WORDS + WORD;
    const syncing = turn | State.syncing;
    return Atomics.compareExchange(this.#words, at, syncing, turn | State.idle) === syncing;
  }

  /** Fills the own slot. Returns its count of syncs, or -1: it is in use. */
  #begin(ino: number, epoch: number, dataOnly: boolean): number {
    const words = this.#words;
    const slot = this.#worker * WORDS;
    const word = Atomics.load(words, slot + WORD);
    const state = word & STATE_BITS;
    if (state !== State.idle && state !== State.synced) return -1;
    const turn = ((word & ~STATE_BITS) + TURN) & 0x7fffffff;
    const previous = Atomics.compareExchange(words, slot + WORD, word, turn | State.preparing);
    if (previous !== word) return -1;
    this.#inos[this.#worker] = ino;
    words[slot + EPOCH] = epoch;
    words[slot + DATA_ONLY] = dataOnly ? 1 : 0;
    Atomics.store(words, slot + WORD, turn | State.syncing);
    return turn;
  }

  #end(turn: number, fd: number, result: number): void {
    const words = this.#words;
    const slot = this.#worker * WORDS;
    words[slot + RESULT] = result;
    const end = result < 0 ? State.failed : State.synced;
    const before = Atomics.exchange(words, slot + WORD, turn | end) & STATE_BITS;
    if (before !== State.awaited) return;
    const low = words[slot + UNIQUE_LOW] as number;
    const high = words[slot + UNIQUE_HIGH] as number;
    const wanted = words[slot + WANTED] as number;
    const isEnough = result < 0 || wanted === Wanted.covered;
    const last = isEnough ? result : this.#options.sync(fd, wanted === Wanted.dataAgain);
    this.#options.answer(low, high, last);
    // Unless another FSYNC has taken it meanwhile.
    Atomics.compareExchange(words, slot + WORD, turn | end, turn | State.idle);
  }

  /**
   * An FSYNC is here; `epoch` is that of the file's lock now. Returns 0 (it is synced), `-errno` (a
   * sync that nobody heard of has failed), ANSWERED_LATER, or undefined: it has to be synced.
   */
  take(request: Request, file: SyncedFile): number | undefined {
    this.#habits.synced(file.ino, file.dataOnly);
    // What a killed engine began is not known here, and its number needs care: the plain way.
    if (request.resent) return undefined;
    for (let worker = 0; worker < SLOTS; worker++) {
      if (this.#inos[worker] !== file.ino) continue;
      const result = this.#takeFrom(worker, request, file);
      if (result !== undefined) return result;
    }
    return undefined;
  }

  #takeFrom(worker: number, request: Request, file: SyncedFile): number | undefined {
    const words = this.#words;
    const slot = worker * WORDS;
    const word = Atomics.load(words, slot + WORD);
    const state = word & STATE_BITS;
    const turn = word & ~STATE_BITS;
    // What is read here is of this turn if the exchange below succeeds.
    if (this.#inos[worker] !== file.ino) return undefined;
    const result = words[slot + RESULT] as number;
    const covers =
      words[slot + EPOCH] === file.epoch && (file.dataOnly || words[slot + DATA_ONLY] === 0);
    if (state === State.failed || (state === State.synced && covers)) {
      const isOurs = Atomics.compareExchange(words, slot + WORD, word, turn | State.idle) === word;
      return isOurs ? result : undefined;
    }
    if (state !== State.syncing) return undefined;
    if (Atomics.compareExchange(words, slot + WORD, word, turn | State.claimed) !== word)
      return undefined;
    words[slot + UNIQUE_LOW] = request.uniqueLow;
    words[slot + UNIQUE_HIGH] = request.uniqueHigh;
    const again = file.dataOnly ? Wanted.dataAgain : Wanted.allAgain;
    words[slot + WANTED] = covers ? Wanted.covered : again;
    const claimed = turn | State.claimed;
    const isLeft =
      Atomics.compareExchange(words, slot + WORD, claimed, turn | State.awaited) === claimed;
    // Else it ended in this moment; how, the slot tells, unless the next has begun there.
    return isLeft ? ANSWERED_LATER : this.#takeFrom(worker, request, file);
  }
}

export interface SyncedFile {
  readonly ino: number;
  readonly epoch: number;
  readonly dataOnly: boolean;
}
