/** What is to happen in virtual time, in order of time and, at one instant, of being asked for. */
import { assert } from "../../src/base/assert.ts";

interface Entry {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export class EventQueue {
  readonly #heap: Entry[] = [];
  #orders = 0;
  #nowMs = 0;

  get nowMs(): number {
    return this.#nowMs;
  }
  get size(): number {
    return this.#heap.length;
  }

  after(delayMs: number, run: () => void): void {
    assert(delayMs >= 0, () => `EventQueue.after: ${delayMs} ms`);
    this.#push({ atMs: this.#nowMs + delayMs, order: this.#orders++, run });
  }

  /** Goes to the time of the next event and returns it; undefined when there is none. */
  next(): (() => void) | undefined {
    const first = this.#heap[0];
    if (first === undefined) return undefined;
    const last = this.#heap.pop() as Entry;
    if (this.#heap.length > 0) this.#sink(last);
    this.#nowMs = first.atMs;
    return first.run;
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Entry;
      if (!isBefore(entry, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = entry;
  }

  #sink(entry: Entry): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && isBefore(right, heap[child] as Entry)) child++;
      const below = heap[child] as Entry;
      if (!isBefore(below, entry)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = entry;
  }
}

function isBefore(one: Entry, other: Entry): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
}
