/**
 * The ops that a target has on its disk, for another target that gets them from there: nobody
 * further on may have what a power cut could still take from those before.
 */
import { LogCursor } from "../journal/log-cursor.ts";
import type { SegmentLog } from "../journal/segment-log.ts";
import { batchFrom, type OpRecords } from "../model/op-records.ts";
import type { PayloadPool } from "../protocol/frame.ts";
import type { AnswerRouting } from "./answer-routing.ts";
import type { OpCursor, OpSource } from "./stream-source.ts";

export class DurableOps implements OpSource {
  readonly #log: SegmentLog;
  readonly #routing: AnswerRouting;
  readonly #onDamaged: () => void;

  /**
   * `routing`: the ops as they are to be seen further on. `onDamaged`: there are ops in the log
   * that cannot be read.
   */
  constructor(log: SegmentLog, routing: AnswerRouting, onDamaged: () => void = () => {}) {
    this.#log = log;
    this.#routing = routing;
    this.#onDamaged = onDamaged;
  }

  reader(): OpCursor {
    return new DurableOpReader(this.#log, this.#routing, this.#onDamaged);
  }
}

class DurableOpReader implements OpCursor {
  readonly #durable: LogCursor;
  readonly #routing: AnswerRouting;
  readonly #onDamaged: () => void;

  constructor(log: SegmentLog, routing: AnswerRouting, onDamaged: () => void) {
    this.#durable = new LogCursor(log, "durable");
    this.#routing = routing;
    this.#onDamaged = onDamaged;
  }

  /** An entry's ops at a time. @throws {StandinError} `LOG_TRIMMED`, `LOG_DAMAGED`, `LOG_IO` */
  async read(from: number, _bytesMax: number, pool: PayloadPool): Promise<OpRecords | undefined> {
    const entry = await this.#durable.read(from).catch((error: unknown) => {
      if ((error as { code?: string }).code === "LOG_DAMAGED") this.#onDamaged();
      throw error;
    });
    if (entry === undefined) return undefined;
    // Copied in any case: the entry's memory is the log's, which uses it again.
    return this.#routing.route(batchFrom(entry, from), (bytes) => pool.take(bytes));
  }

  close(): Promise<void> {
    return this.#durable.close();
  }
}
