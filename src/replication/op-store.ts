/**
 * The ops that the source still has: in the ring, and behind it in a log on disk for as long as a
 * target is behind. Senders read from any place of both; the ring is given back to its writers as
 * soon as every target has an op on its disk, or the log has it.
 */
import { randomBytes } from "node:crypto";

import { assert } from "../base/assert.ts";
import { RingFramer } from "../journal/ring-framer.ts";
import { type Ring, RingReader } from "../journal/ring.ts";
import { isLogFull } from "../journal/log-error.ts";
import { LogCursor } from "../journal/log-cursor.ts";
import type { SegmentLog } from "../journal/segment-log.ts";
import { batchFrom, type OpRecords } from "../model/op-records.ts";
import type { PayloadPool } from "../protocol/frame.ts";

/** Above this share of the ring ops are moved to the log. */
const SPILL_ABOVE = 0.5;
const SPILL_BYTES = 1 << 20;
/** In one call. */
const SPILL_BATCHES = 8;

export class OpStore {
  readonly #ring: Ring;
  readonly #framer: RingFramer;
  readonly #releaser: RingReader;
  readonly #spill: SegmentLog;
  /** The log has ops up to here, and the ring has them no more. */
  #movedTo = -1;
  /** Ops up to here were given to the log; beyond movedTo they are on their way. */
  #givenTo = -1;
  #spillProblem: string | undefined;
  /** The log takes and gives nothing any more: what was moved to it is lost to the targets. */
  #hasFailed = false;

  /** `spill`: the job's log; what another life of the ring left in it is of no use. */
  constructor(ring: Ring, spill: SegmentLog) {
    this.#ring = ring;
    this.#releaser = new RingReader(ring);
    this.#spill = spill;
    this.#releaseWhatTheLogHas();
    this.#framer = new RingFramer(ring);
  }

  /** Who was killed between writing to the log and releasing left ops in both. */
  #releaseWhatTheLogHas(): void {
    const { stream, firstLsn, lastLsn } = this.#spill;
    if (stream === undefined || firstLsn > this.#ring.applied + 1) return;
    this.#noteMoved(lastLsn);
  }

  #noteMoved(lsn: number): void {
    this.#releaseRing(lsn);
    this.#movedTo = this.#givenTo = lsn;
  }

  #releaseRing(lsn: number): void {
    while (this.#releaser.lsnNext <= lsn) this.#releaser.release();
  }

  /** The first LSN that can be read. */
  get firstLsn(): number {
    const { applied } = this.#ring;
    return this.#hasSpilled ? this.#spill.firstLsn : applied + 1;
  }

  /** What the log has ends where the ring begins; otherwise it is of an earlier time. */
  get #hasSpilled(): boolean {
    return !this.#hasFailed && this.#movedTo === this.#ring.applied;
  }

  /** The last LSN that can be read. */
  look(): number {
    return this.#framer.look();
  }

  get spilledBytes(): number {
    return this.#hasSpilled ? this.#spill.bytes : 0;
  }

  /** There is something to {@link trim} or to {@link spill}. */
  get needsDisk(): boolean {
    return this.#spill.bytes > 0 || this.isCrowded;
  }

  /** Why ops cannot be moved to the disk; undefined while they can. */
  get spillProblem(): string | undefined {
    return this.#spillProblem;
  }

  /** A cursor for one sender. */
  reader(): OpReader {
    return new OpReader(this.#ring, this.#framer, this.#spill, () => this.firstLsn);
  }

  /** No sender will ask for ops up to `lsn` again: the ring may have their room. */
  release(lsn: number): void {
    this.#releaseRing(Math.min(lsn, this.#framer.look()));
  }

  /** The same for the log. */
  async trim(lsn: number): Promise<void> {
    if (this.#hasFailed || this.#spill.bytes === 0) return;
    await this.#spill.trimBelow(lsn + 1).catch((error: unknown) => this.#noteFailure(error));
  }

  #noteFailure(error: unknown): void {
    this.#spillProblem = (error as Error).message;
    this.#hasFailed ||= !isLogFull(error);
  }

  get isCrowded(): boolean {
    return this.#ring.fillMax > SPILL_ABOVE;
  }
  /** It will be crowded unless room is given back soon. */
  get isFilling(): boolean {
    return this.#ring.fillMax > SPILL_ABOVE / 4;
  }

  /**
   * Moves some of the oldest ops to the log while the ring is crowded; one call at a time. When the
   * log cannot take them they stay; the engine declares a gap when the ring is full, and a resync
   * follows. After an error of the disk nothing is moved until the agent is started again, and
   * targets that needed what had been moved compare.
   */
  async spill(): Promise<void> {
    if (this.#hasFailed) return;
    try {
      for (let count = 0; count < SPILL_BATCHES && this.isCrowded; count++) {
        // What a full disk did not take is still with the log.
        if (this.#givenTo === this.#movedTo && !(await this.#giveToLog())) break;
        await this.#spill.flush();
        this.#noteMoved(this.#givenTo);
      }
      this.#spillProblem = undefined;
    } catch (error) {
      this.#noteFailure(error);
    }
  }

  /** Returns whether there was anything to give. */
  async #giveToLog(): Promise<boolean> {
    const batch = this.#framer.cut(this.#releaser.lsnNext, SPILL_BYTES);
    if (batch === undefined) return false;
    if (!this.#hasSpilled) await this.#startLog(batch.firstLsn);
    this.#spill.append(batch);
    this.#givenTo = batch.lastLsn;
    return true;
  }

  /** What senders release meanwhile, the log gets all the same: it has no holes. */
  async #startLog(firstLsn: number): Promise<void> {
    await this.#spill.startStream(randomBytes(16), firstLsn);
    this.#movedTo = this.#givenTo = firstLsn - 1;
    await this.#spill.trimBelow(firstLsn);
  }
}

export class OpReader {
  readonly #ring: Ring;
  readonly #framer: RingFramer;
  readonly #spilled: LogCursor;
  readonly #first: () => number;

  constructor(ring: Ring, framer: RingFramer, spill: SegmentLog, first: () => number) {
    this.#ring = ring;
    this.#framer = framer;
    this.#spilled = new LogCursor(spill, "written");
    this.#first = first;
  }

  /** Ops from `from` on; undefined when there is none yet. They are there from firstLsn on. */
  async read(from: number, bytesMax: number, pool: PayloadPool): Promise<OpRecords | undefined> {
    if (from > this.#ring.applied) return this.#framer.cut(from, bytesMax, pool);
    assert(from >= this.#first(), () => `op ${from} is not kept any more`);
    const entry = await this.#spilled.read(from);
    return entry === undefined ? undefined : batchFrom(entry, from);
  }

  close(): Promise<void> {
    return this.#spilled.close();
  }
}
