/**
 * Brings ops from the target's log to its ring, where the applier reads them: in order, each once,
 * only what is durable, and no faster than the ring takes them.
 */
import { assert } from "../base/assert.ts";
import { alignUp } from "../base/bytes.ts";
import type { LogReader } from "../journal/log-reader.ts";
import { NO_ROOM, type Ring, RingWriter } from "../journal/ring.ts";
import type { SegmentLog } from "../journal/segment-log.ts";
import { batchFrom, recordAt } from "../model/op-records.ts";
import type { Clock } from "../platform/clock.ts";
import type { AnswerRouting } from "./answer-routing.ts";
import type { OwnerMapper } from "./owner-mapper.ts";

/** The target's ring has one writer. */
const ARENA = 0;
const ROOM_POLL_MS = 2;

export class RingFeeder {
  readonly #ring: Ring;
  readonly #writer: RingWriter;
  readonly #reader: LogReader;
  readonly #clock: Clock;
  readonly #owners: OwnerMapper | undefined;
  readonly #routing: AnswerRouting | undefined;
  #fed = 0;
  /** The log has grown since the reader was last asked. */
  #hasMore = false;
  #wake: (() => void) | undefined;

  /**
   * Goes on where an earlier feeder of this ring ended or was killed. `owners`: where they go by
   * name. `routing`: where the log has others' answers, too.
   */
  constructor(
    log: SegmentLog,
    ring: Ring,
    clock: Clock,
    {
      owners,
      routing,
    }: { owners?: OwnerMapper | undefined; routing?: AnswerRouting | undefined } = {},
  ) {
    ring.takeBackHole();
    this.#ring = ring;
    this.#writer = new RingWriter(ring, ARENA);
    this.#reader = log.reader(ring.head + 1, "durable");
    this.#reader.onAppended = () => {
      this.#hasMore = true;
      this.#wake?.();
    };
    this.#clock = clock;
    this.#owners = owners;
    this.#routing = routing;
  }

  /** Ops brought by this feeder. */
  get fed(): number {
    return this.#fed;
  }

  /** Until `signal` is aborted. @throws what the log cannot read */
  async run(signal: AbortSignal): Promise<void> {
    const stop = () => this.#wake?.();
    signal.addEventListener("abort", stop);
    try {
      while (!signal.aborted) await this.#round(signal);
    } finally {
      signal.removeEventListener("abort", stop);
      await this.#reader.close();
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    this.#hasMore = false;
    const entry = await this.#reader.next();
    if (entry === undefined) {
      if (!this.#hasMore && !signal.aborted) await this.#untilAppended();
      return;
    }
    const next = this.#ring.head + 1;
    if (entry.lastLsn < next) return;
    const records = batchFrom(entry, next);
    const { payload } = this.#routing?.route(records) ?? records;
    await this.#owners?.prepare(payload, signal);
    if (signal.aborted) return;
    for (let at = 0; at < payload.length; ) {
      const record = recordAt(payload, at);
      if (!this.#findsRoom(record.length) && !(await this.#waitForRoom(record.length, signal))) {
        return;
      }
      this.#publish(record);
      at += alignUp(record.length, 8);
    }
  }

  /** Or stopped. */
  #untilAppended(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    return promise;
  }

  #findsRoom(size: number): boolean {
    return this.#ring.hasIndexRoom() && this.#writer.reserve(size) !== NO_ROOM;
  }

  /** False: it was stopped. */
  async #waitForRoom(size: number, signal: AbortSignal): Promise<boolean> {
    while (!this.#findsRoom(size)) {
      if (signal.aborted) return false;
      await this.#clock.sleep(ROOM_POLL_MS);
    }
    return !signal.aborted;
  }

  #publish(record: Uint8Array): void {
    const { bytes } = this.#ring.memory;
    bytes.set(record, this.#writer.at);
    const op = this.#writer.op.at(this.#writer.at);
    this.#owners?.change(op);
    const { lsn } = op;
    const next = this.#ring.head + 1;
    assert(lsn === next, () => `op ${lsn} would be applied as ${next}`);
    this.#writer.publish(record.length);
    this.#fed += 1;
  }
}
