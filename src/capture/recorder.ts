/**
 * One worker's pen: finds room in the ring before a change is made beneath, and publishes the op
 * after it.
 *
 * When the ring is full the application waits for the reader, but never long: after ROOM_WAIT_MS,
 * or at once when the reader stands still, the op is given up, and with it the order: the ring goes
 * to "gap", status says that a resync is due, and applications go on at full speed.
 */
import { NO_ROOM, type Ring, RingWriter } from "../journal/ring.ts";
import { HeaderAt, RecordingState } from "../journal/ring-layout.ts";
import { OP_BYTES_MAX, OP_HEADER_BYTES, type OpKind, OpView } from "../model/op.ts";
import type { Request } from "../fuse/message.ts";
import { alignUp, TWO_32 } from "../base/bytes.ts";
import { type Doubt, Intents, NOT_RECORDED } from "./intents.ts";
import type { RequestSpace } from "../fuse/session.ts";
import { type NativeMemory, populate, unmapPages } from "../platform/native.ts";

/** Longest that an application's request waits for room. */
const ROOM_WAIT_MS = 400;
/** A reader that releases nothing for so long is taken for dead or stuck. */
const STANDSTILL_MS = 200;
const NAP_MS = 1;
const PAGE_BYTES = 4096;
/** So much more is made present at once. */
const PRESENT_AHEAD_BYTES = 512 * 1024;
/** So much of an arena stays present when it is empty; more only while records stand in it. */
const PRESENT_BYTES_KEPT = 16 << 20;
const SMALL_OP_BYTES = 96 * 1024;

/** What is known of a request before it is served. */
export const Past = {
  /** Not served before, or not begun. */
  none: 0,
  /** Begun by an engine that was killed: done beneath or not, and not recorded. */
  begun: 1,
  /** Done and recorded; only the answer is missing. */
  recorded: 2,
} as const;

export interface RecorderOptions {
  readonly ring: Ring;
  readonly arena: number;
  readonly mount: number;
  /** The ring's. */
  readonly memory: NativeMemory;
  /** A buffer of OP_BYTES_MAX for requests that find no room in the arena. */
  readonly spare: NativeMemory;
}

const nap = new Int32Array(new SharedArrayBuffer(4));

export class Recorder {
  readonly ring: Ring;
  readonly #writer: RingWriter;
  readonly #intents: Intents;
  readonly #memory: NativeMemory;
  readonly #spare: NativeMemory;
  readonly #arenaEnd: number;
  readonly #keptTo: number;
  #presentTo: number;
  #isSparePresent = false;
  readonly #space: RequestSpace;
  /**
   * Small records are made here, since the request that they are made from may lie where they will
   * go.
   */
  readonly op: OpView = new OpView(new ArrayBuffer(SMALL_OP_BYTES));
  #doubt: Doubt | undefined;

  constructor(options: RecorderOptions) {
    const { ring, arena, mount, memory, spare } = options;
    this.ring = ring;
    this.#writer = new RingWriter(ring, arena);
    this.#intents = new Intents(ring, arena, mount);
    this.#memory = memory;
    this.#spare = spare;
    const { dataAt, arenaBytes } = ring.layout;
    this.#presentTo = dataAt + arena * arenaBytes;
    this.#arenaEnd = this.#presentTo + arenaBytes;
    this.#keptTo = Math.min(this.#presentTo + PRESENT_BYTES_KEPT, this.#arenaEnd);
    this.#space = { memory: spare, base: 0, room: OP_BYTES_MAX };
  }

  /**
   * Where to receive the next request: in the arena when it has room, so that a write's data never
   * moves again.
   */
  requestSpace(): RequestSpace {
    const isOn = this.ring.recording === RecordingState.on;
    const at = isOn ? this.#writer.reserve(OP_BYTES_MAX) : NO_ROOM;
    if (at === NO_ROOM) this.#makeSparePresent();
    else this.#makePresent(at + OP_BYTES_MAX);
    const space = this.#space;
    space.memory = at === NO_ROOM ? this.#spare : this.#memory;
    space.base = at === NO_ROOM ? 0 : at;
    return space;
  }

  /**
   * Makes the arena's pages present up to `end`. The kernel fails a request with EIO when it has to
   * fault in the page that it copies it to and finds that we are being killed: the death of an
   * engine would be an error for an application. A circle starts at its beginning, so what is
   * present is one piece.
   */
  #makePresent(end: number): void {
    if (end <= this.#presentTo) {
      if (end <= this.#keptTo && this.#presentTo > this.#keptTo) this.#dropRest();
      return;
    }
    const to = Math.min(alignUp(end + PRESENT_AHEAD_BYTES, PAGE_BYTES), this.#arenaEnd);
    populate(this.#memory.address + this.#presentTo, to - this.#presentTo);
    this.#presentTo = to;
  }

  /** A circle that starts over is empty: what a burst has made present is given back. */
  #dropRest(): void {
    unmapPages(this.#memory.address + this.#keptTo, this.#presentTo - this.#keptTo);
    this.#presentTo = this.#keptTo;
  }

  #makeSparePresent(): void {
    if (this.#isSparePresent) return;
    populate(this.#spare.address, OP_BYTES_MAX);
    this.#isSparePresent = true;
  }

  /** What an earlier engine did of this request. Call first; {@link finish} last. */
  past(request: Request): number {
    this.#doubt = undefined;
    if (!request.resent) return Past.none;
    this.#doubt = this.#intents.doubt(uniqueOf(request));
    if (this.#doubt === undefined) return Past.none;
    return this.#doubt.recorded ? Past.recorded : Past.begun;
  }

  /** Witness `index` that the earlier engine wrote down for the request in doubt. */
  witness(index: 0 | 1 | 2): number {
    return this.#doubt?.witness[index] ?? 0;
  }

  /** The request in doubt has been dealt with. */
  finish(): void {
    if (this.#doubt !== undefined && !this.#doubt.recorded) this.#intents.settle(this.#doubt);
    this.#doubt = undefined;
  }

  /**
   * Makes room for a record of `bytes`, and writes down what is about to be done. Call before
   * taking locks: it may wait. Returns whether the op will be recorded.
   */
  begin(request: Request, bytes: number, a = 0, b = 0, c = 0): boolean {
    const records = this.ring.recording === RecordingState.on && this.#findRoom(bytes);
    const unique = uniqueOf(request);
    // What is recorded will not be done again: the doubt says all, also to the next engine.
    if (this.#doubt?.recorded === true && this.#doubt.unique === unique) return records;
    const start = records ? this.#writer.start : NOT_RECORDED;
    this.#intents.begin(unique, request.opcode, start, a, b, c);
    return records;
  }

  /**
   * Call under the locks, with what {@link begin} answered: recording may have begun again
   * meanwhile, and a mirror may have looked at the node before the change that is about to be made.
   */
  confirm(records: boolean, bytes: number): boolean {
    if (records || this.ring.recording !== RecordingState.on) return records;
    if (!this.#hasRoom(bytes)) {
      this.#declareGap();
      return false;
    }
    this.#intents.relocate(this.#writer.start);
    return true;
  }

  /** Makes room for a record that answers no request and that nothing can put in doubt. */
  beginUnasked(bytes: number): boolean {
    return this.ring.recording === RecordingState.on && this.#findRoom(bytes);
  }

  #findRoom(bytes: number): boolean {
    if (this.#hasRoom(bytes)) return true;
    const { ring } = this;
    let appliedSeen = ring.applied;
    let stoodStillMs = 0;
    for (let waitedMs = 0; waitedMs < ROOM_WAIT_MS; waitedMs += NAP_MS) {
      ring.wakeReader();
      Atomics.wait(nap, 0, 0, NAP_MS);
      if (ring.recording !== RecordingState.on) return false;
      if (this.#hasRoom(bytes)) return true;
      const { applied } = ring;
      stoodStillMs = applied === appliedSeen ? stoodStillMs + NAP_MS : 0;
      appliedSeen = applied;
      if (stoodStillMs >= STANDSTILL_MS) break;
    }
    this.#declareGap();
    return false;
  }

  #hasRoom(bytes: number): boolean {
    return this.ring.hasIndexRoom() && this.#writer.keepOrReserve(bytes);
  }

  #declareGap(): void {
    const state = HeaderAt.recording / 4;
    const { i32 } = this.ring;
    const before = Atomics.compareExchange(i32, state, RecordingState.on, RecordingState.gap);
    if (before === RecordingState.on) this.ring.addWord(HeaderAt.gaps, 1);
  }

  /** Counts a change that was made and not recorded. */
  lose(): void {
    if (this.ring.recording === RecordingState.gap) this.ring.addWord(HeaderAt.opsLost, 1);
  }

  /** Starts a small record in the scratch memory. */
  start(kind: OpKind, mount: number, node: number): OpView {
    this.op.at(0).start(kind, mount, node);
    return this.op;
  }

  /** Publishes the small record in hand. */
  commit(): void {
    const { size } = this.op;
    // Behind a gap that somebody declared meanwhile nothing may follow.
    if (this.ring.recording !== RecordingState.on) {
      this.lose();
      return;
    }
    // The first record goes to the very place that the intent names: whether one stands there tells
    // the next engine that the change was recorded. A follow-up may find the arena just filled.
    if (!this.#hasRoom(size)) {
      this.#declareGap();
      return;
    }
    const at = this.#writer.at;
    this.#memory.bytes.set(this.op.bytes.subarray(0, size), at);
    this.#writer.publish(size);
  }

  /**
   * The record of a write, around data that lies where its request was received: in place when that
   * is the arena, else moved there. Fill the header, then {@link publishPlaced}.
   */
  placeData(memory: NativeMemory, dataAt: number, length: number): OpView {
    const { at, op } = this.#writer;
    const dataTo = at + OP_HEADER_BYTES;
    if (memory !== this.#memory || dataAt !== dataTo) {
      this.#memory.bytes.set(memory.bytes.subarray(dataAt, dataAt + length), dataTo);
    }
    return op.at(at);
  }

  /** Publishes the record of {@link placeData}. */
  publishPlaced(size: number): void {
    if (this.ring.recording !== RecordingState.on) this.lose();
    else this.#writer.publish(size);
  }
}

function uniqueOf(request: Request): number {
  return request.uniqueHigh * TWO_32 + request.uniqueLow;
}
