/**
 * What each worker is about to do beneath, in shared memory, so that the engine that follows a
 * killed one can tell for a request that the kernel sends again: never begun, begun (done beneath
 * or not, but not recorded), or recorded.
 *
 * A worker writes its line before the system call. Whether the op was recorded needs no second
 * store: the line names the place in the arena where the record will stand, and the ring's index
 * has that place or not.
 *
 * A new engine moves the lines to the doubts, which stay until answered, so that it may itself be
 * killed.
 */
import type { Ring } from "../journal/ring.ts";
import { HeaderAt, INTENT_LINE_BYTES, INTENT_LINES_PER_ARENA } from "../journal/ring-layout.ts";

/** 64-bit words of a line. */
const UNIQUE = 0;
const OPCODE = 1;
const START = 2;
const WITNESS = 3;
const RECORDED = 6;
const MOUNT = 7;
/** Of a doubt: the engine's generation when it became one. Not of an intent. */
const AGE = 8;
/** All 64-bit words of a line that mean something. */
const WORDS = 8;
/** 32-bit word of a line: 1 when the line is whole. */
const VALID_I32 = 30;

const LINE_F64 = INTENT_LINE_BYTES / 8;

/** Position for an intent whose op will not be recorded. */
export const NOT_RECORDED = -1;

export interface Doubt {
  readonly unique: number;
  readonly opcode: number;
  /** The op is in the ring: answer the request, do not do it again. */
  readonly recorded: boolean;
  /** What the handler wrote down before it began; its meaning is the handler's. */
  readonly witness: readonly [number, number, number];
  readonly line: number;
}

export class Intents {
  readonly #f64: Float64Array;
  readonly #i32: Int32Array;
  readonly #ring: Ring;
  readonly #arenas: number;
  /** Each mount is a connection of its own, with its own count of requests. */
  readonly #mount: number;
  /** First 64-bit word of the own line. */
  readonly #own: number;

  constructor(ring: Ring, arena: number, mount: number) {
    this.#ring = ring;
    this.#mount = mount;
    this.#arenas = ring.layout.arenas;
    this.#f64 = new Float64Array(ring.memory.buffer);
    this.#i32 = ring.i32;
    this.#own = ring.layout.intentsAt / 8 + arena * LINE_F64;
  }

  /**
   * Writes the own line. `start`: place in the arena where the op will be recorded, or
   * NOT_RECORDED.
   */
  begin(unique: number, opcode: number, start: number, a: number, b: number, c: number): void {
    const at = this.#own;
    Atomics.store(this.#i32, at * 2 + VALID_I32, 0);
    this.#f64[at + UNIQUE] = unique;
    this.#f64[at + OPCODE] = opcode;
    this.#f64[at + START] = start;
    this.#f64[at + WITNESS] = a;
    this.#f64[at + WITNESS + 1] = b;
    this.#f64[at + WITNESS + 2] = c;
    this.#f64[at + MOUNT] = this.#mount;
    Atomics.store(this.#i32, at * 2 + VALID_I32, 1);
  }

  /** The op in hand will be recorded after all, at `start`. */
  relocate(start: number): void {
    this.#f64[this.#own + START] = start;
  }

  #line(index: number): number {
    return this.#ring.layout.intentsAt / 8 + index * LINE_F64;
  }

  #isValid(index: number): boolean {
    return Atomics.load(this.#i32, this.#line(index) * 2 + VALID_I32) === 1;
  }

  /**
   * For a new engine, before any worker begins: moves the lines of the one before to the doubts.
   * Older doubts that were not answered stay as long as there is room; what falls out was answered
   * or never sent again.
   */
  collectDoubts(): void {
    const places = recordedPlaces(this.#ring);
    for (let arena = 0; arena < this.#arenas; arena++) {
      if (!this.#isValid(arena)) continue;
      const from = this.#line(arena);
      const start = this.#f64[from + START] as number;
      const recorded = start !== NOT_RECORDED && places.has(placeKey(arena, start));
      this.#moveToDoubt(from, recorded);
      Atomics.store(this.#i32, from * 2 + VALID_I32, 0);
    }
  }

  #moveToDoubt(from: number, recorded: boolean): void {
    const to = this.#placeForDoubt(from);
    Atomics.store(this.#i32, to * 2 + VALID_I32, 0);
    for (let word = 0; word < WORDS; word++) {
      this.#f64[to + word] = this.#f64[from + word] as number;
    }
    this.#f64[to + RECORDED] = recorded ? 1 : 0;
    this.#f64[to + AGE] = this.#ring.word(HeaderAt.engineGeneration);
    Atomics.store(this.#i32, to * 2 + VALID_I32, 1);
  }

  /**
   * That of an older doubt about the same request, which two engines in a row began; else a free
   * line, else the oldest.
   */
  #placeForDoubt(from: number): number {
    const unique = this.#f64[from + UNIQUE] as number;
    const older = this.#find(unique, this.#f64[from + MOUNT] as number);
    if (older >= 0) return this.#line(older);
    const lines = this.#arenas * INTENT_LINES_PER_ARENA;
    for (let index = this.#arenas; index < lines; index++) {
      if (!this.#isValid(index)) return this.#line(index);
    }
    return this.#oldestDoubt();
  }

  /** Index of the doubt about a request, or -1. */
  #find(unique: number, mount: number): number {
    const lines = this.#arenas * INTENT_LINES_PER_ARENA;
    for (let index = this.#arenas; index < lines; index++) {
      const line = this.#line(index);
      const isIt = this.#f64[line + UNIQUE] === unique && this.#f64[line + MOUNT] === mount;
      if (isIt && this.#isValid(index)) return index;
    }
    return -1;
  }

  /**
   * For the first engine of a mount's new connection: the kernel counts its requests from the start
   * again, and what is noted of earlier connections must not be taken for them.
   */
  forget(mount: number): void {
    const lines = this.#arenas * INTENT_LINES_PER_ARENA;
    for (let index = 0; index < lines; index++) {
      const line = this.#line(index);
      if (this.#value(line, MOUNT) === mount) Atomics.store(this.#i32, line * 2 + VALID_I32, 0);
    }
  }

  /**
   * That of the earliest engine. Of doubts of one engine the smallest unique, since the kernel
   * counts requests up; those of different mounts say nothing about each other.
   */
  #oldestDoubt(): number {
    let oldest = this.#line(this.#arenas);
    const lines = this.#arenas * INTENT_LINES_PER_ARENA;
    for (let index = this.#arenas + 1; index < lines; index++) {
      const line = this.#line(index);
      const age = this.#value(line, AGE) - this.#value(oldest, AGE);
      const isOlder =
        age < 0 || (age === 0 && this.#value(line, UNIQUE) < this.#value(oldest, UNIQUE));
      if (isOlder) oldest = line;
    }
    return oldest;
  }

  #value(line: number, word: number): number {
    return this.#f64[line + word] as number;
  }

  /** The doubt about a request that came again, or undefined: it was never begun. */
  doubt(unique: number): Doubt | undefined {
    const index = this.#find(unique, this.#mount);
    if (index < 0) return undefined;
    const line = this.#line(index);
    return {
      unique,
      opcode: this.#f64[line + OPCODE] as number,
      recorded: this.#f64[line + RECORDED] === 1,
      witness: [
        this.#f64[line + WITNESS] as number,
        this.#f64[line + WITNESS + 1] as number,
        this.#f64[line + WITNESS + 2] as number,
      ],
      line: index,
    };
  }

  /**
   * The request in doubt was begun anew, and the line of its own that this wrote stands in for the
   * doubt. Not for one that was recorded: it has no such line, and may come a third time.
   */
  settle(doubt: Doubt): void {
    Atomics.store(this.#i32, this.#line(doubt.line) * 2 + VALID_I32, 0);
  }
}

function placeKey(arena: number, start: number): string {
  return `${arena}:${start}`;
}

/** Places of the records that the index still knows, the newest `indexSlots` of them. */
function recordedPlaces(ring: Ring): Set<string> {
  const places = new Set<string>();
  const { head } = ring;
  const newest = Math.max(0, head - NEWEST_RECORDS);
  for (let lsn = head; lsn > newest && lsn > head - ring.layout.indexSlots; lsn--) {
    if (!ring.isPublished(lsn)) continue;
    const { arena, start, size } = ring.locate(lsn);
    if (size > 0) places.add(placeKey(arena, start));
  }
  return places;
}

/**
 * A worker that published stands still until it answers; thousands of ops of others meanwhile are
 * plenty.
 */
const NEWEST_RECORDS = 16_384;
