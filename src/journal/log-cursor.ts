/** Reads a log from wherever it is asked to; mostly that is where the last read has ended. */
import type { LogReader, ReadUntil } from "./log-reader.ts";
import type { LogEntry } from "./segment-format.ts";
import type { SegmentLog } from "./segment-log.ts";

export class LogCursor {
  readonly #log: SegmentLog;
  readonly #until: ReadUntil;
  #reader: LogReader | undefined;

  constructor(log: SegmentLog, until: ReadUntil) {
    this.#log = log;
    this.#until = until;
  }

  /**
   * The entry that holds `from`; undefined when there is none yet, or the cursor was closed
   * meanwhile. One call at a time. @throws LOG_TRIMMED, LOG_DAMAGED, LOG_IO
   */
  async read(from: number): Promise<LogEntry | undefined> {
    if (this.#reader?.nextLsn !== from) {
      const before = this.#reader;
      // Before anything is waited for: a reader that close() does not find stays with the log.
      this.#reader = this.#log.reader(from, this.#until);
      await before?.close();
    }
    return await this.#reader?.next();
  }

  /** Also while a read is under way. */
  async close(): Promise<void> {
    const reader = this.#reader;
    this.#reader = undefined;
    await reader?.close();
  }
}
