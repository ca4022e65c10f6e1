/** Inode numbers to nodes, for many millions of them: 24 bytes each, where a Map takes 60. */
import { assert } from "../base/assert.ts";

export class InodeIndex {
  readonly #keys: Float64Array;
  readonly #nodes: Uint32Array;
  readonly #mask: number;
  #left: number;

  /** Room for `count` inodes. */
  constructor(count: number) {
    let slots = 16;
    while (slots < count * 2) slots *= 2;
    this.#keys = new Float64Array(slots);
    this.#nodes = new Uint32Array(slots);
    this.#mask = slots - 1;
    this.#left = count;
  }

  #slot(ino: number): number {
    let hash = Math.imul(ino % 4294967296, 0x9e3779b1);
    hash ^= hash >>> 15;
    let slot = hash & this.#mask;
    while (this.#nodes[slot] !== 0 && this.#keys[slot] !== ino) slot = (slot + 1) & this.#mask;
    return slot;
  }

  /** The node of the inode, or 0. */
  get(ino: number): number {
    return this.#nodes[this.#slot(ino)] as number;
  }

  /** Of two nodes with one number, the later one counts. */
  set(ino: number, node: number): void {
    const slot = this.#slot(ino);
    if (this.#nodes[slot] === 0) {
      this.#left -= 1;
      assert(this.#left >= 0, "InodeIndex: more inodes than it was made for");
    }
    this.#keys[slot] = ino;
    this.#nodes[slot] = node;
  }
}
