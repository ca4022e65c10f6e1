/** Reads a log's entries in order, from memory where it is close behind, else from the files. */
import { assert } from "../base/assert.ts";
import type { LogFile } from "../platform/log-files.ts";
import { EntryScanner, isUnsound } from "./entry-scanner.ts";
import { logDamaged, logIo, logTrimmed } from "./log-error.ts";
import type { RecentEntries, RecentEntry } from "./recent-entries.ts";
import type { Segment } from "./segment.ts";
import { type LogEntry, SEGMENT_HEADER_BYTES } from "./segment-format.ts";

/** How far a reader may read: what is in the files, or only what a power cut leaves there. */
export type ReadUntil = "written" | "durable";

/** What a reader needs of its log. */
export interface ReadableLog {
  readonly segments: readonly Segment[];
  readonly recent: RecentEntries;
  readableLsn(until: ReadUntil): number;
  openFile(name: string): Promise<LogFile>;
  /** Some reader's {@link LogReader.doneLsn} has grown. */
  forgetDone(): void;
  forgetReader(reader: LogReader): void;
}

interface Place {
  readonly segment: Segment;
  readonly position: number;
  readonly nextLsn: number;
}

export class LogReader {
  /**
   * Called when more may be read, perhaps while {@link next} is under way: remember it, and ask
   * again before waiting. Must not throw.
   */
  onAppended: (() => void) | undefined;
  readonly until: ReadUntil;
  readonly #log: ReadableLog;
  #nextLsn: number;
  #doneLsn: number;
  #place: Place | undefined;
  #open: { segment: Segment; file: LogFile; scanner: EntryScanner } | undefined;
  #isBusy = false;
  #isClosed = false;

  /** Use {@link SegmentLog.reader}. */
  constructor(log: ReadableLog, fromLsn: number, until: ReadUntil) {
    this.#log = log;
    this.#nextLsn = fromLsn;
    this.#doneLsn = fromLsn;
    this.until = until;
  }

  /** What was read ends before this LSN. */
  get nextLsn(): number {
    return this.#nextLsn;
  }

  /** Nothing before this LSN is looked at by this reader any more. */
  get doneLsn(): number {
    return this.#doneLsn;
  }

  /**
   * The next entry, undefined when there is none yet. The first one may begin before the LSN that
   * was asked for, since entries come whole. Between two streams LSNs may be left out. Who calls
   * has done with the entry before. One call at a time.
   * @throws LOG_TRIMMED, LOG_DAMAGED, LOG_IO; the reader stays where it is
   */
  async next(): Promise<LogEntry | undefined> {
    assert(!this.#isBusy, "LogReader.next: one call at a time");
    assert(!this.#isClosed, "LogReader.next: the reader is open");
    this.#isBusy = true;
    try {
      return await this.#next();
    } finally {
      this.#isBusy = false;
      if (this.#isClosed) await this.#closeFile();
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#log.forgetReader(this);
    if (!this.#isBusy) await this.#closeFile();
  }

  async #next(): Promise<LogEntry | undefined> {
    this.#doneLsn = this.#nextLsn;
    this.#log.forgetDone();
    const readable = this.#log.readableLsn(this.until);
    this.#refuseTrimmed();
    if (this.#nextLsn > readable) return undefined;
    const recent = this.#log.recent.find(this.#nextLsn);
    if (recent === undefined) return this.#nextFromFiles();
    return recent.entry.lastLsn > readable ? undefined : this.#take(recent);
  }

  #take({ entry, segment, end }: RecentEntry): LogEntry {
    this.#nextLsn = entry.lastLsn + 1;
    this.#place = { segment, position: end, nextLsn: this.#nextLsn };
    return entry;
  }

  async #nextFromFiles(): Promise<LogEntry | undefined> {
    for (;;) {
      this.#refuseTrimmed();
      const place = this.#placeNow();
      if (place === undefined) return undefined;
      const { segment } = place;
      if (place.position === this.#endOf(segment)) {
        if (!this.#moveOn(place)) return undefined;
        continue;
      }
      const scanner = await this.#scannerAt(place);
      const scanned = await this.#io(segment, scanner.next(this.#endOf(segment)));
      this.#refuseTrimmed(); // its file may be another segment's by now
      const { position, nextLsn: following } = scanner;
      this.#place = { segment, position, nextLsn: following };
      if (scanned === undefined) continue;
      if (isUnsound(scanned)) throw logDamaged(segment.name, scanned.problem);
      const { firstLsn, lastLsn, flags } = scanned.header;
      if (lastLsn < this.#nextLsn) continue;
      this.#nextLsn = lastLsn + 1;
      const { stream } = segment.header;
      return { stream, firstLsn, lastLsn, flags, payload: scanned.payload };
    }
  }

  /** Where to go on, found anew when the segment is gone. */
  #placeNow(): Place | undefined {
    if (this.#place !== undefined && !this.#place.segment.isGone) return this.#place;
    const { segments } = this.#log;
    const holds = segments.findLast(({ header }) => header.firstLsn <= this.#nextLsn);
    const segment = holds ?? segments[0];
    this.#place = segment === undefined ? undefined : startOf(segment);
    return this.#place;
  }

  #endOf(segment: Segment): number {
    return this.until === "durable" ? segment.durableBytes : segment.bytes;
  }

  /** To the segment behind the one whose end was reached. False: it is the last. */
  #moveOn({ segment, position, nextLsn }: Place): boolean {
    const { segments } = this.#log;
    const { firstLsn } = segment.header;
    const following = segments.find(({ header }) => header.firstLsn > firstLsn);
    if (following === undefined || position < segment.bytes) return false;
    if (nextLsn !== segment.lastLsn + 1) throw logDamaged(segment.name, "it ends too early");
    this.#place = startOf(following);
    return true;
  }

  async #scannerAt({ segment, position, nextLsn }: Place): Promise<EntryScanner> {
    if (this.#open?.segment !== segment) {
      await this.#closeFile();
      const file = await this.#io(segment, this.#log.openFile(segment.name));
      const scanner = new EntryScanner(file, segment.headerBytes, position, nextLsn);
      this.#open = { segment, file, scanner };
    }
    const { scanner } = this.#open as { scanner: EntryScanner };
    scanner.position = position;
    scanner.nextLsn = nextLsn;
    return scanner;
  }

  #refuseTrimmed(): void {
    const trimmedLsn = this.#log.segments[0]?.header.previousLsn ?? 0;
    if (this.#nextLsn <= trimmedLsn) throw logTrimmed(this.#nextLsn);
  }

  async #io<T>(segment: Segment, work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      this.#refuseTrimmed();
      throw logIo(`reading segment ${segment.name}`, error);
    }
  }

  async #closeFile(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.file.close().catch(() => undefined);
  }
}

function startOf(segment: Segment): Place {
  return { segment, position: SEGMENT_HEADER_BYTES, nextLsn: segment.header.firstLsn };
}
