/**
 * The bytes of the names: one byte of length and the bytes, padded to units of 8. Freed places are
 * kept in lists by size and used again for names of the same size.
 */
import { HEAP_CLASSES, HEAP_UNIT_BYTES, HEAP_UNIT_WORDS, TreeAt } from "./tree-layout.ts";
import { TreeFullError } from "./tree-error.ts";
import type { TreeMemory } from "./tree-memory.ts";

export class NameHeap {
  readonly #memory: TreeMemory;
  readonly #startWord: number;

  constructor(memory: TreeMemory) {
    this.#memory = memory;
    this.#startWord = memory.layout.heapAt;
  }

  /** Within a transaction. Returns the unit where the name stands. */
  add(name: Uint8Array): number {
    const units = unitsOf(name.length);
    const unit = this.#take(units);
    const at = this.#byteAt(unit);
    const { bytes } = this.#memory;
    bytes[at] = name.length;
    bytes.set(name, at + 1);
    return unit;
  }

  #take(units: number): number {
    const memory = this.#memory;
    const head = TreeAt.heapFree + units;
    const free = memory.u32[head]!;
    if (free !== 0) {
      const word = this.#startWord + free * HEAP_UNIT_WORDS;
      memory.set(head, memory.u32[word]!);
      // The place may have been freed in this very transaction: undoing it must bring the old name
      // back.
      for (let i = 0; i < units * HEAP_UNIT_WORDS; i++) memory.keep(word + i);
      return free;
    }
    const unit = memory.u32[TreeAt.heapHigh]!;
    if (unit + units > memory.layout.heapUnits)
      throw new TreeFullError("the tree holds no more names");
    memory.back(this.#startWord, this.#startWord + (unit + units) * HEAP_UNIT_WORDS);
    memory.set(TreeAt.heapHigh, unit + units);
    return unit;
  }

  /** Within a transaction. */
  remove(unit: number): void {
    const memory = this.#memory;
    const head = TreeAt.heapFree + unitsOf(this.length(unit));
    memory.set(this.#startWord + unit * HEAP_UNIT_WORDS, memory.u32[head]!);
    memory.set(head, unit);
  }

  length(unit: number): number {
    return this.#memory.bytes[this.#byteAt(unit)]!;
  }

  /** A copy. */
  get(unit: number): Uint8Array {
    const at = this.#byteAt(unit) + 1;
    return this.#memory.bytes.slice(at, at + this.length(unit));
  }

  equals(unit: number, name: Uint8Array): boolean {
    const { bytes } = this.#memory;
    const at = this.#byteAt(unit);
    const { length } = name;
    if (bytes[at] !== length) return false;
    for (let i = 0; i < length; i++) if (bytes[at + 1 + i] !== name[i]) return false;
    return true;
  }

  #byteAt(unit: number): number {
    return this.#startWord * 4 + unit * HEAP_UNIT_BYTES;
  }
}

function unitsOf(length: number): number {
  const units = Math.ceil((length + 1) / HEAP_UNIT_BYTES);
  return Math.min(units, HEAP_CLASSES);
}
