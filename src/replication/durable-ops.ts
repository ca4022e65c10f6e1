/**
 * The ops that a target has on its disk, for another target that gets them from there: nobody
 * further on may have what a power cut could still take from those before.
 */
import type { LogReader } from "../journal/log-reader.ts";
import type { SegmentLog } from "../journal/segment-log.ts";
import { batchFrom, type OpRecords } from "../model/op-records.ts";
import type { PayloadPool } from "../protocol/frame.ts";
import type { AnswerRouting } from "./answer-routing.ts";
import type { OpCursor, OpSource } from "./stream-source.ts";

export class DurableOps implements OpSource {
  readonly #log: SegmentLog;
  readonly #routing: AnswerRouting;

  /** `routing`: the ops as they are to be seen further on. */
  constructor(log: SegmentLog, routing: AnswerRouting) {
    this.#log = log;
    this.#routing = routing;
  }

  reader(): OpCursor {
    return new DurableOpReader(this.#log, this.#routing);
  }
}

class DurableOpReader implements OpCursor {
  readonly #log: SegmentLog;
  readonly #routing: AnswerRouting;
  #reader: LogReader | undefined;

  constructor(log: SegmentLog, routing: AnswerRouting) {
    this.#log = log;
    this.#routing = routing;
  }

  /** An entry's ops at a time. @throws {StandinError} `LOG_TRIMMED`, `LOG_DAMAGED`, `LOG_IO` */
  async read(from: number, _bytesMax: number, pool: PayloadPool): Promise<OpRecords | undefined> {
    if (this.#reader?.nextLsn !== from) {
      await this.#reader?.close();
      this.#reader = this.#log.reader(from, "durable");
    }
    const entry = await this.#reader.next();
    if (entry === undefined) return undefined;
    // Copied in any case: the entry's memory is the log's, which uses it again.
    return this.#routing.route(batchFrom(entry, from), (bytes) => pool.take(bytes));
  }

  async close(): Promise<void> {
    await this.#reader?.close();
    this.#reader = undefined;
  }
}
