/**
 * What the applier must not forget when it is killed: the intent of the op in hand, times that are
 * still to be set on the replica, how far a pass has come. One file in /dev/shm per job, some
 * pages.
 *
 * Numbers are stored as 64-bit floats, one store each: a kill leaves the old or the new one.
 */
import { SharedMemory } from "../platform/shared-memory.ts";

const MAGIC = 0x59505041; // "APPY"
const VERSION = 2;

/** Positions of 64-bit floats. */
const At = {
  identity: 0,
  intentLsn: 8,
  intentFirst: 9,
  intentSecond: 10,
  restoreNode: 16,
  restoreFlags: 17,
  counters: 32,
} as const;

/** Numbers that outlive the process. */
export const Counter = {
  pass: 0,
  passKind: 1,
  passPhase: 2,
  filesTotal: 3,
  filesDone: 4,
  bytesTotal: 5,
  bytesDone: 6,
  differing: 7,
  commandSequence: 8,
  diverged: 9,
  unsupported: 10,
  /** Inode number of the ring's file, by which another ring is recognized. */
  ringId: 11,
  /** Gaps of the ring that a resync was begun for. */
  gapsSeen: 12,
  /** 1 when a first copy was completed. */
  mirrored: 13,
  /** What the pass in progress does to orphans is kept in a folder of this number. */
  asideNumber: 14,
  /**
   * Ops that were begun, by this applier or one before it, each time that they were; and the LSN
   * behind which that is counted. What is more than the LSNs since was begun twice: the op in hand
   * of an applier that was killed, or that the replica refused.
   */
  opsBegun: 15,
  opsBegunBehind: 16,
} as const;

export type Counter = (typeof Counter)[keyof typeof Counter];

/** Times to be set that can be outstanding. */
export const PENDING_MAX = 4096;
export const PENDING_FLOATS = 5;
const PENDING_AT_BYTES = 4096;
const TOTAL_BYTES = PENDING_AT_BYTES + PENDING_MAX * PENDING_FLOATS * 8;

export class ApplyMemory {
  readonly #memory: SharedMemory;
  readonly #f64: Float64Array;
  /** See PendingTimes. */
  readonly pending: Float64Array;

  private constructor(memory: SharedMemory) {
    this.#memory = memory;
    this.#f64 = new Float64Array(memory.buffer, 0, PENDING_AT_BYTES / 8);
    this.pending = new Float64Array(memory.buffer, PENDING_AT_BYTES);
  }

  static create(path: string): ApplyMemory {
    const memory = new ApplyMemory(SharedMemory.create(path, TOTAL_BYTES));
    memory.#f64[At.identity] = MAGIC + VERSION;
    return memory;
  }

  /** Undefined when the file is not of this version. */
  static open(path: string): ApplyMemory | undefined {
    const shared = SharedMemory.open(path);
    if (shared.size !== TOTAL_BYTES) return undefined;
    const memory = new ApplyMemory(shared);
    return memory.#f64[At.identity] === MAGIC + VERSION ? memory : undefined;
  }

  get(counter: Counter): number {
    return this.#f64[At.counters + counter]!;
  }
  set(counter: Counter, value: number): void {
    this.#f64[At.counters + counter] = value;
  }
  add(counter: Counter, value: number): number {
    const sum = this.get(counter) + value;
    this.set(counter, sum);
    return sum;
  }

  /** Bytes of the file. */
  get fileBytes(): number {
    return TOTAL_BYTES;
  }

  /** All of it, for a copy. */
  get bytes(): Uint8Array {
    return this.#memory.bytes;
  }

  /** LSN of the op for which the witnesses hold. */
  get intentLsn(): number {
    return this.#f64[At.intentLsn]!;
  }
  get witness(): number {
    return this.#f64[At.intentFirst]!;
  }
  get secondWitness(): number {
    return this.#f64[At.intentSecond]!;
  }

  /** The LSN is stored last: it makes the witnesses count. */
  setIntent(lsn: number, witness: number, secondWitness = 0): void {
    this.#f64[At.intentLsn] = 0;
    this.#f64[At.intentFirst] = witness;
    this.#f64[At.intentSecond] = secondWitness;
    this.#f64[At.intentLsn] = lsn;
  }

  /** Inode flags that were taken off a node for a moment; node 0: none. */
  get restore(): { node: number; flags: number } {
    return { node: this.#f64[At.restoreNode]!, flags: this.#f64[At.restoreFlags]! };
  }
  setRestore(node: number, flags: number): void {
    this.#f64[At.restoreFlags] = flags;
    this.#f64[At.restoreNode] = node;
  }

  close(): void {
    this.#memory.close();
  }
}
