/**
 * The tree's memory, and the transactions that change it.
 *
 * Guarantee: after SIGKILL at any instruction, {@link TreeMemory.open} finds the tree as it was
 * before the transaction in progress, or as it was after it, never between. Every store goes
 * through {@link set}, which first notes what it overwrites; {@link commit} forgets the notes with
 * one store, and who opens a tree with notes puts everything back. Memory that belongs to no live
 * structure (a name being written to a free place) needs no notes.
 *
 * The order of stores is that of the program: they are typed array stores of one thread, the
 * processor keeps their order, and a killed process's finished stores stay.
 */
import { assert } from "../base/assert.ts";
import { TWO_32 } from "../base/bytes.ts";
import { fallocate } from "../platform/libc.ts";
import { SharedMemory } from "../platform/shared-memory.ts";
import { TreeError, TreeFullError } from "./tree-error.ts";
import {
  TREE_MAGIC,
  TREE_VERSION,
  TreeAt,
  type TreeLayout,
  type TreeOptions,
  type TreePart,
  treeLayout,
  UNDO_ENTRIES,
  usedParts,
} from "./tree-layout.ts";

/**
 * Memory is taken from the machine in steps of this, so that running out is an error and not a
 * signal.
 */
const STEP_BYTES = 1 << 20;

export class TreeMemory {
  readonly layout: TreeLayout;
  readonly u32: Uint32Array;
  readonly bytes: Uint8Array;
  readonly #memory: SharedMemory;
  readonly #i32: Int32Array;
  /** Undo notes so far; the same number is in the header. */
  #undo = 0;
  #open = false;
  /** Byte positions up to which parts are backed, by the part's start. */
  readonly #backed = new Map<number, number>();

  private constructor(memory: SharedMemory, layout: TreeLayout) {
    this.#memory = memory;
    this.layout = layout;
    this.u32 = new Uint32Array(memory.buffer);
    this.#i32 = new Int32Array(memory.buffer);
    this.bytes = memory.bytes;
  }

  /** @throws {TreeFullError} when the machine has no memory for an empty tree. */
  static create(path: string, options: TreeOptions): TreeMemory {
    const layout = treeLayout(options);
    const shared = SharedMemory.create(path, layout.totalWords * 4);
    const memory = new TreeMemory(shared, layout);
    memory.#back(0, 0, layout.nodesAt * 4);
    const { u32 } = memory;
    u32[TreeAt.version] = TREE_VERSION;
    u32[TreeAt.buckets] = options.buckets;
    u32[TreeAt.nodesMax] = options.nodesMax;
    u32[TreeAt.linksMax] = options.linksMax;
    u32[TreeAt.heapUnits] = options.heapUnits;
    // Slot and unit 0 mean "none".
    u32[TreeAt.nodeHigh] = 1;
    u32[TreeAt.linkHigh] = 1;
    u32[TreeAt.heapHigh] = 1;
    return memory;
  }

  /** Last step of making a tree: before it, {@link open} refuses the file. */
  seal(): void {
    Atomics.store(this.#i32, TreeAt.magic, TREE_MAGIC);
  }

  /**
   * Rolls an unfinished transaction back. @throws {TreeError} when the file is no whole tree of
   * this version.
   */
  static open(path: string): TreeMemory {
    const shared = SharedMemory.open(path);
    if (shared.size < 4096) throw new TreeError(`${path} is cut`);
    const head = new Uint32Array(shared.buffer, 0, 16);
    if (head[TreeAt.magic] !== TREE_MAGIC || head[TreeAt.version] !== TREE_VERSION) {
      throw new TreeError(`${path} is no tree of version ${TREE_VERSION}`);
    }
    const layout = treeLayout({
      buckets: head[TreeAt.buckets]!,
      nodesMax: head[TreeAt.nodesMax]!,
      linksMax: head[TreeAt.linksMax]!,
      heapUnits: head[TreeAt.heapUnits]!,
    });
    if (layout.totalWords * 4 !== shared.size) throw new TreeError(`${path} is cut`);
    const memory = new TreeMemory(shared, layout);
    memory.#undo = memory.u32[TreeAt.undoCount]!;
    memory.#open = true;
    memory.rollback();
    return memory;
  }

  get isChanging(): boolean {
    return this.#open;
  }

  begin(): void {
    assert(!this.#open, "TreeMemory: transactions do not nest");
    this.#open = true;
  }

  set(word: number, value: number): void {
    this.keep(word);
    this.u32[word] = value;
  }

  add(word: number, value: number): void {
    this.set(word, this.u32[word]! + value);
  }

  /** Notes the word, which may then be overwritten by other means than {@link set}. */
  keep(word: number): void {
    assert(this.#open, "TreeMemory: a store outside of a transaction");
    const undo = this.#undo;
    assert(undo < UNDO_ENTRIES, "TreeMemory: a transaction has too many stores");
    const at = this.layout.undoAt + undo * 2;
    this.u32[at] = word;
    this.u32[at + 1] = this.u32[word]!;
    this.#undo = undo + 1;
    // The note counts from here on; only now may the word change.
    Atomics.store(this.#i32, TreeAt.undoCount, undo + 1);
  }

  /** `lsn`: the op whose effect is complete with this transaction. */
  commit(lsn = 0): void {
    assert(this.#open, "TreeMemory: a commit outside of a transaction");
    if (lsn > 0) {
      this.set(TreeAt.lsn, lsn % TWO_32);
      this.set(TreeAt.lsn + 1, Math.floor(lsn / TWO_32));
    }
    this.#undo = 0;
    Atomics.store(this.#i32, TreeAt.undoCount, 0);
    this.#open = false;
  }

  /** Puts back what the transaction in progress has changed. Being killed in here does no harm. */
  rollback(): void {
    for (let i = this.#undo - 1; i >= 0; i--) {
      const at = this.layout.undoAt + i * 2;
      this.u32[this.u32[at]!] = this.u32[at + 1]!;
    }
    this.#undo = 0;
    Atomics.store(this.#i32, TreeAt.undoCount, 0);
    this.#open = false;
  }

  get lsn(): number {
    return this.u32[TreeAt.lsn]! + this.u32[TreeAt.lsn + 1]! * TWO_32;
  }

  /** Bytes of the whole file, most of which were never used. */
  get size(): number {
    return this.#memory.size;
  }

  /** The parts that were ever used: a copy of them is a copy of the tree. Not in a transaction. */
  used(): TreePart[] {
    assert(!this.#open, "TreeMemory: a copy within a transaction");
    return usedParts(this.layout, {
      nodes: this.u32[TreeAt.nodeHigh]!,
      links: this.u32[TreeAt.linkHigh]!,
      heapUnits: this.u32[TreeAt.heapHigh]!,
    });
  }

  /** Makes sure that the part that starts at word `start` has memory up to word `end`. */
  back(start: number, end: number): void {
    const backed = this.#backed.get(start) ?? start * 4;
    if (end * 4 > backed) this.#back(start, backed, end * 4);
  }

  #back(start: number, from: number, end: number): void {
    const length = Math.ceil((end - from) / STEP_BYTES) * STEP_BYTES;
    const bounded = Math.min(length, this.#memory.size - from);
    const result = fallocate(this.#memory.fd, 0, from, bounded);
    if (result < 0) throw new TreeFullError(`no shared memory for the tree (errno ${-result})`);
    this.#backed.set(start, from + bounded);
  }

  close(): void {
    this.#memory.close();
  }
}
