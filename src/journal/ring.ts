/**
 * The ring: every op of a job in one order, in shared memory, from several writing threads to one
 * reader.
 *
 * Guarantees. LSNs are gapless from 1. A record is visible to the reader only when it is whole. The
 * reader sees records in LSN order. What is between `applied` and `head` survives the death of any
 * process; LSNs that a killed writer took and did not fill are voided by the next engine ({@link
 * Ring.voidHoles}).
 *
 * Writers never wait for each other: each has its own arena, and takes its LSN with one atomic add.
 */
import { OP_BYTES_MAX, OP_HEADER_BYTES, OpKind, OpView } from "../model/op.ts";
import { futexWait, futexWake } from "../platform/libc.ts";
import { unmapPages } from "../platform/native.ts";
import { type Mapping, SharedMemory } from "../platform/shared-memory.ts";
import {
  ARENA_LINE_BYTES,
  HeaderAt,
  INDEX_SLOT_BYTES,
  RecordingState,
  RING_MAGIC,
  RING_VERSION,
  type RingLayout,
  type RingOptions,
  ringLayout,
} from "./ring-layout.ts";
import { RingError } from "./ring-error.ts";

/** Words of an index slot, as 32-bit and as 64-bit float positions. */
const SLOT_I32 = INDEX_SLOT_BYTES / 4;
const SLOT_F64 = INDEX_SLOT_BYTES / 8;
/** Slots kept free, so that writers that checked for room at the same moment all find it. */
const INDEX_MARGIN = 64;

export class Ring {
  readonly memory: SharedMemory;
  readonly layout: RingLayout;
  readonly i32: Int32Array;
  readonly #f64: Float64Array;
  readonly #doorbell: Uint8Array;

  private constructor(memory: SharedMemory, layout: RingLayout) {
    this.memory = memory;
    this.layout = layout;
    this.i32 = new Int32Array(memory.buffer);
    this.#f64 = new Float64Array(memory.buffer);
    this.#doorbell = memory.bytes.subarray(HeaderAt.doorbell, HeaderAt.doorbell + 4);
  }

  /** `firstLsn`: of the first op that will stand in it; above 1 when an earlier ring was lost. */
  static create(path: string, options: RingOptions, firstLsn = 1): Ring {
    const layout = ringLayout(options);
    const memory = SharedMemory.create(path, layout.totalBytes);
    const header = new DataView(memory.buffer);
    header.setUint32(HeaderAt.version, RING_VERSION, true);
    header.setUint32(HeaderAt.arenas, options.arenas, true);
    header.setUint32(HeaderAt.indexSlots, options.indexSlots, true);
    header.setUint32(HeaderAt.arenaBytes, options.arenaBytes, true);
    header.setInt32(HeaderAt.head, (firstLsn - 1) | 0, true);
    header.setFloat64(HeaderAt.applied, firstLsn - 1, true);
    header.setUint32(HeaderAt.magic, RING_MAGIC, true);
    return new Ring(memory, layout);
  }

  /** @throws {RingError} when the file is no ring of this version. */
  static open(path: string): Ring {
    return Ring.#of(SharedMemory.open(path), path);
  }

  /** The ring that another thread of this process has opened. */
  static at(mapping: Mapping): Ring {
    return Ring.#of(SharedMemory.at(mapping), "the memory");
  }

  static #of(memory: SharedMemory, path: string): Ring {
    const header = new DataView(memory.buffer);
    const magic = header.getUint32(HeaderAt.magic, true);
    const version = header.getUint32(HeaderAt.version, true);
    if (magic !== RING_MAGIC || version !== RING_VERSION) {
      throw new RingError(`${path} is no ring of version ${RING_VERSION}`);
    }
    const layout = ringLayout({
      arenas: header.getUint32(HeaderAt.arenas, true),
      indexSlots: header.getUint32(HeaderAt.indexSlots, true),
      arenaBytes: header.getUint32(HeaderAt.arenaBytes, true),
    });
    if (layout.totalBytes !== memory.size) throw new RingError(`${path} is cut`);
    return new Ring(memory, layout);
  }

  /** Last LSN taken. Every op that an application was answered for has an LSN at or below it. */
  get head(): number {
    return this.#whole(Atomics.load(this.i32, HeaderAt.head / 4));
  }

  /** Last LSN that the reader is done with. */
  get applied(): number {
    return this.#f64[HeaderAt.applied / 8] as number;
  }

  /**
   * The LSN whose low 32 bits are `low`. Only these are counted atomically (a 64-bit atomic would
   * cost an allocation per op); the rest follows from the reader's position, which is never as much
   * as an index's length behind.
   */
  #whole(low: number): number {
    const { applied } = this;
    return applied + ((low - applied) | 0);
  }

  get bytesRecorded(): number {
    let sum = 0;
    for (let arena = 0; arena < this.layout.arenas; arena++) {
      sum += this.#f64[this.#arenaLine(arena) + 2] as number;
    }
    return sum;
  }

  get recording(): number {
    return Atomics.load(this.i32, HeaderAt.recording / 4);
  }
  set recording(state: number) {
    Atomics.store(this.i32, HeaderAt.recording / 4, state);
  }

  /** A header word by its offset in {@link HeaderAt}. */
  word(at: number): number {
    return Atomics.load(this.i32, at / 4);
  }
  setWord(at: number, value: number): void {
    Atomics.store(this.i32, at / 4, value);
  }
  addWord(at: number, value: number): number {
    return Atomics.add(this.i32, at / 4, value) + value;
  }

  /** Monotonic byte position in arena `arena` up to which its writer has published. */
  arenaHead(arena: number): number {
    return this.#f64[this.#arenaLine(arena)] as number;
  }
  setArenaHead(arena: number, position: number): void {
    this.#f64[this.#arenaLine(arena)] = position;
  }
  /** Monotonic byte position in arena `arena` up to which the reader is done. */
  arenaTail(arena: number): number {
    return this.#f64[this.#arenaLine(arena) + 1] as number;
  }

  /** For the writer of an empty arena, and for {@link release}. */
  setArenaTail(arena: number, position: number): void {
    this.#f64[this.#arenaLine(arena) + 1] = position;
  }

  #arenaLine(arena: number): number {
    return (this.layout.arenaLinesAt + arena * ARENA_LINE_BYTES) / 8;
  }

  /** Absolute byte offset in the memory of monotonic `position` of `arena`. */
  physical(arena: number, position: number): number {
    const { dataAt, arenaBytes } = this.layout;
    return dataAt + arena * arenaBytes + (position % arenaBytes);
  }

  hasIndexRoom(): boolean {
    return this.head - this.applied < this.layout.indexSlots - INDEX_MARGIN;
  }

  /** Share of the fuller of index and arena that is in use, 0 to 1. */
  fill(arena: number): number {
    const data = (this.arenaHead(arena) - this.arenaTail(arena)) / this.layout.arenaBytes;
    return Math.max(data, (this.head - this.applied) / this.layout.indexSlots);
  }

  /** Of the fullest arena. */
  get fillMax(): number {
    let most = 0;
    for (let arena = 0; arena < this.layout.arenas; arena++) {
      most = Math.max(most, this.fill(arena));
    }
    return most;
  }

  /**
   * Gives the record at monotonic `start` of `arena` the next LSN and shows it to the reader. The
   * record must be whole, room in the index checked. Returns the LSN.
   */
  publish(arena: number, start: number, size: number): number {
    const lsn = this.#whole((Atomics.add(this.i32, HeaderAt.head / 4, 1) + 1) | 0);
    const at = this.physical(arena, start);
    const low = lsn | 0;
    this.i32[(at + 8) / 4] = low;
    this.i32[(at + 12) / 4] = Math.floor(lsn / 4294967296);
    this.#fillSlot(lsn, arena, start, size);
    this.setArenaHead(arena, start + ((size + 7) & ~7));
    const countAt = this.#arenaLine(arena) + 2;
    this.#f64[countAt] = (this.#f64[countAt] as number) + size;
    // Once for each of its sleeps: the call costs more than the rest, and it takes time to come.
    const waitingAt = HeaderAt.readerWaiting / 4;
    const isWaiting = Atomics.load(this.i32, waitingAt) === 1;
    if (isWaiting && Atomics.compareExchange(this.i32, waitingAt, 1, 0) === 1) this.wakeReader();
    return lsn;
  }

  #fillSlot(lsn: number, arena: number, start: number, size: number): void {
    const slot = lsn & (this.layout.indexSlots - 1);
    const word = this.layout.indexAt / 4 + slot * SLOT_I32;
    this.i32[word + 1] = arena;
    this.#f64[this.layout.indexAt / 8 + slot * SLOT_F64 + 1] = start;
    this.i32[word + 4] = size;
    // The commit word comes last: it makes the slot and the record visible.
    Atomics.store(this.i32, word, lsn | 0);
  }

  /** True when the record of `lsn` can be read. */
  isPublished(lsn: number): boolean {
    const slot = lsn & (this.layout.indexSlots - 1);
    return Atomics.load(this.i32, this.layout.indexAt / 4 + slot * SLOT_I32) === (lsn | 0);
  }

  /** Place of a published record. `size` 0: a voided LSN, which has no record. */
  locate(lsn: number): { arena: number; start: number; size: number } {
    const slot = lsn & (this.layout.indexSlots - 1);
    const word = this.layout.indexAt / 4 + slot * SLOT_I32;
    return {
      arena: this.i32[word + 1] as number,
      start: this.#f64[this.layout.indexAt / 8 + slot * SLOT_F64 + 1] as number,
      size: this.i32[word + 4] as number,
    };
  }

  /** The reader is done with everything up to `lsn`; gives the memory back to the writers. */
  release(lsn: number, arena: number, end: number): void {
    if (arena >= 0) this.setArenaTail(arena, end);
    this.#f64[HeaderAt.applied / 8] = lsn;
  }

  /**
   * Called by a new engine before it writes: fills LSNs that its killed predecessor took and did
   * not publish, and sets each arena's head behind its last published record. Returns how many
   * holes there were.
   */
  voidHoles(): number {
    const { head } = this;
    let holes = 0;
    for (let lsn = this.applied + 1; lsn <= head; lsn++) {
      if (this.isPublished(lsn)) continue;
      this.#fillSlot(lsn, -1, 0, 0);
      holes += 1;
    }
    this.#setArenaHeads();
    return holes;
  }

  /**
   * The same for a ring with one writer that is given the same ops again, called before it writes:
   * an LSN that its killed predecessor took and did not publish is the last one, and is taken back.
   * Returns whether there was one.
   */
  takeBackHole(): boolean {
    const { head } = this;
    const isHole = head > this.applied && !this.isPublished(head);
    if (isHole) Atomics.sub(this.i32, HeaderAt.head / 4, 1);
    this.#setArenaHeads();
    return isHole;
  }

  /** A writer is killed between showing a record and moving its arena's head, too. */
  #setArenaHeads(): void {
    const ends = new Float64Array(this.layout.arenas);
    for (let lsn = this.applied + 1; lsn <= this.head; lsn++) {
      const { arena, start, size } = this.locate(lsn);
      if (arena >= 0) ends[arena] = Math.max(ends[arena] as number, start + ((size + 7) & ~7));
    }
    for (const [arena, end] of ends.entries()) {
      this.setArenaHead(arena, Math.max(end, this.arenaTail(arena)));
    }
  }

  /** Sleeps until a record beyond `lsn` may be there, at most `timeoutMs`. */
  waitBeyond(lsn: number, timeoutMs: number): void {
    const bell = Atomics.load(this.i32, HeaderAt.doorbell / 4);
    Atomics.store(this.i32, HeaderAt.readerWaiting / 4, 1);
    if (!this.isPublished(lsn + 1)) futexWait(this.#doorbell, bell, timeoutMs);
    Atomics.store(this.i32, HeaderAt.readerWaiting / 4, 0);
  }

  wakeReader(): void {
    Atomics.add(this.i32, HeaderAt.doorbell / 4, 1);
    futexWake(this.#doorbell, 1);
  }

  close(): void {
    this.memory.close();
  }
}

/** What {@link RingWriter.reserve} answers when there is no room. */
export const NO_ROOM = -1;

/**
 * One writer's hold on its arena. Not thread-safe: one instance per thread, one thread per arena.
 *
 * Use: `reserve(bytes)`, build the record at `physical`, `publish(size)`.
 */
export class RingWriter {
  readonly ring: Ring;
  readonly arena: number;
  readonly op: OpView;
  #head: number;
  #start = 0;
  #reserved = 0;

  constructor(ring: Ring, arena: number) {
    this.ring = ring;
    this.arena = arena;
    this.op = new OpView(ring.memory.buffer);
    this.#head = ring.arenaHead(arena);
  }

  /**
   * Finds `bytes` in one piece at the arena's head. Returns the absolute offset in the memory (a
   * multiple of 8), or {@link NO_ROOM}. Nothing is taken until {@link publish}; reserving again
   * gives up the earlier place.
   */
  reserve(bytes: number): number {
    const { arenaBytes } = this.ring.layout;
    const inCircle = this.#head % arenaBytes;
    if (inCircle !== 0) {
      if (this.#head === this.ring.arenaTail(this.arena)) this.#restartCircle(inCircle);
      else if (inCircle + bytes > arenaBytes) this.#head += arenaBytes - inCircle;
    }
    const start = this.#head;
    this.#reserved = 0;
    if (start + bytes - this.ring.arenaTail(this.arena) > arenaBytes) return NO_ROOM;
    this.#start = start;
    this.#reserved = bytes;
    return this.ring.physical(this.arena, start);
  }

  /** Monotonic position of the reserved place: what names it after a restart. */
  get start(): number {
    return this.#start;
  }

  /** Absolute offset in the memory of the reserved place. */
  get at(): number {
    return this.ring.physical(this.arena, this.#start);
  }

  /**
   * An empty arena starts over at its beginning: memory that is hot in the cache, and fewer pages
   * touched. The reader moves the tail only when it releases a record, and there is none.
   */
  #restartCircle(inCircle: number): void {
    this.#head += this.ring.layout.arenaBytes - inCircle;
    this.ring.setArenaTail(this.arena, this.#head);
  }

  /**
   * As {@link reserve}, but stays with the place in hand when that suffices: what lies there need
   * not move.
   */
  keepOrReserve(bytes: number): boolean {
    return bytes <= this.#reserved || this.reserve(bytes) !== NO_ROOM;
  }

  /** Publishes the record of `size` bytes at the reserved place; returns its LSN. */
  publish(size: number): number {
    const start = this.#start;
    this.#reserved = 0;
    this.#head = start + ((size + 7) & ~7);
    return this.ring.publish(this.arena, start, size);
  }
}

/** After so many bytes read, the pages that they lay in are taken out of the reader's process. */
const PAGES_KEPT_BYTES = 64 << 20;

/** The single reader. */
export class RingReader {
  readonly ring: Ring;
  readonly op: OpView;
  #lsn: number;
  #bytesMapped = 0;

  /** Goes on behind the last LSN that an earlier reader released. */
  constructor(ring: Ring) {
    this.ring = ring;
    this.op = new OpView(ring.memory.buffer);
    this.#lsn = ring.applied;
  }

  /** LSN of the record that {@link peek} looks at. */
  get lsnNext(): number {
    return this.#lsn + 1;
  }

  /**
   * The next record, as a view that is valid until {@link release}, or undefined when there is none
   * yet. A voided LSN comes as a record of kind `void`.
   */
  peek(): OpView | undefined {
    const lsn = this.#lsn + 1;
    if (!this.ring.isPublished(lsn)) return undefined;
    const { arena, start, size } = this.ring.locate(lsn);
    if (size === 0) return voidOp(lsn);
    return this.op.at(this.ring.physical(arena, start));
  }

  /** Done with the record that {@link peek} returned: its effect is where it should be. */
  release(): void {
    const lsn = this.#lsn + 1;
    const { arena, start, size } = this.ring.locate(lsn);
    this.ring.release(lsn, size === 0 ? -1 : arena, start + ((size + 7) & ~7));
    this.#lsn = lsn;
    this.#bytesMapped += size;
    if (this.#bytesMapped > PAGES_KEPT_BYTES) this.#unmapPages();
  }

  #unmapPages(): void {
    const { memory, layout } = this.ring;
    unmapPages(memory.address + layout.dataAt, layout.totalBytes - layout.dataAt);
    this.#bytesMapped = 0;
  }
}

const voidRecord = new OpView(new ArrayBuffer(OP_HEADER_BYTES));

function voidOp(lsn: number): OpView {
  voidRecord.start(OpKind.void, 0, 0);
  voidRecord.lsn = lsn;
  return voidRecord;
}

/** Room that a request of the largest size needs. */
export const RESERVE_BYTES_MAX: number = OP_BYTES_MAX;

export { RecordingState };
