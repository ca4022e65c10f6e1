/**
 * Times that the replica should show, and will when they are flushed: modification times, and with
 * them the access times of files that are being brought. A run of writes to one file costs one time
 * to be set, not one a write.
 *
 * Guarantee: once {@link PendingTimes.set} has returned, the time is set on the replica sooner or
 * later, also when the process is killed, unless a later one replaces it or the node goes. The
 * table is in shared memory; an entry's node is stored last when it is made, and cleared last when
 * it is done.
 */
import { assert } from "../base/assert.ts";
import type { Time } from "../platform/replica-files.ts";
import { type ApplyMemory, PENDING_FLOATS, PENDING_MAX } from "./apply-memory.ts";

/** Sets the times on the replica; what is not possible is forgotten all the same. */
export type TimeSetter = (node: number, mtime: Time, atime: Time | undefined) => void;

/** An entry: node, then seconds and nanoseconds of both times. */
const MTIME = 1;
const ATIME = 3;
/** In place of the nanoseconds: the access time stays as it is. */
const NO_ATIME = -1;

export class PendingTimes {
  readonly #table: Float64Array;
  readonly #setTime: TimeSetter;
  readonly #entryOf = new Map<number, number>();
  readonly #free: number[] = [];

  /** Takes over what an earlier process has left. */
  constructor(memory: ApplyMemory, setTime: TimeSetter) {
    this.#table = memory.pending;
    this.#setTime = setTime;
    for (let entry = PENDING_MAX - 1; entry >= 0; entry--) {
      const node = this.#table[entry * PENDING_FLOATS]!;
      if (node === 0) this.#free.push(entry);
      else this.#entryOf.set(node, entry);
    }
  }

  get size(): number {
    return this.#entryOf.size;
  }

  has(node: number): boolean {
    return this.#entryOf.has(node);
  }

  set(node: number, sec: number, nsec: number): void {
    const table = this.#table;
    const known = this.#entryOf.get(node);
    const entry = known ?? this.#take();
    const at = entry * PENDING_FLOATS;
    table[at + MTIME] = sec;
    table[at + MTIME + 1] = nsec;
    if (known !== undefined) return;
    table[at + ATIME + 1] = NO_ATIME;
    table[at] = node;
    this.#entryOf.set(node, entry);
  }

  /** Has the access time set together with the modification time that is outstanding. */
  setAtime(node: number, sec: number, nsec: number): void {
    const entry = this.#entryOf.get(node);
    assert(entry !== undefined, () => "no modification time is outstanding");
    const at = entry * PENDING_FLOATS + ATIME;
    this.#table[at] = sec;
    this.#table[at + 1] = nsec;
  }

  /** The access time was set by other means, or changed since. */
  dropAtime(node: number): void {
    const entry = this.#entryOf.get(node);
    if (entry !== undefined) this.#table[entry * PENDING_FLOATS + ATIME + 1] = NO_ATIME;
  }

  #take(): number {
    const entry = this.#free.pop();
    if (entry !== undefined) return entry;
    this.#flushSome(PENDING_MAX / 4);
    return this.#free.pop() as number;
  }

  #flushSome(count: number): void {
    let left = count;
    for (const node of [...this.#entryOf.keys()]) {
      if (left-- <= 0) return;
      this.flush(node);
    }
  }

  /** Sets the node's time now, if one is outstanding. */
  flush(node: number): void {
    const entry = this.#entryOf.get(node);
    if (entry === undefined) return;
    const at = entry * PENDING_FLOATS;
    const atime = this.#time(at + ATIME);
    this.#setTime(node, this.#time(at + MTIME), atime.nsec === NO_ATIME ? undefined : atime);
    this.drop(node);
  }

  #time(at: number): Time {
    return { sec: this.#table[at]!, nsec: this.#table[at + 1]! };
  }

  flushAll(): void {
    this.#flushSome(Number.POSITIVE_INFINITY);
  }

  /** The node is gone, or its time was set by other means. */
  drop(node: number): void {
    const entry = this.#entryOf.get(node);
    if (entry === undefined) return;
    this.#table[entry * PENDING_FLOATS] = 0;
    this.#entryOf.delete(node);
    this.#free.push(entry);
  }
}
