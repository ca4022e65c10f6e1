/**
 * The log of ops on disk: append-only, in segments, gapless within a stream, whole or cut at its
 * end after any crash. It serves the target as the received log (append, sync, then the durable
 * ack) and the source as the spill while a target is away (append, flush).
 *
 * Guarantees. What {@link SegmentLog.sync} has reported survives a power cut. After a crash the log
 * holds a prefix of what was appended, with at least all that was durable. Damage is never taken
 * for a torn tail where a later entry shows that it was durable, and never read over. A full disk
 * loses nothing that was appended.
 *
 * Segments are not allocated in advance, which would cost each byte a second write; but files of
 * segments that were trimmed can be used again.
 *
 * One process at a time may have a log open; whoever owns the folder sees to that.
 */
import { assert } from "../base/assert.ts";
import { equalBytes } from "../base/bytes.ts";
import type { LogFile, LogFiles } from "../platform/log-files.ts";
import { encodeBatch, type EntryToWrite, entryBytesMax, isWithinPages } from "./entry-batch.ts";
import { ioError, isLogFull, logFull, logIo, logTrimmed } from "./log-error.ts";
import { LogReader, type ReadableLog, type ReadUntil } from "./log-reader.ts";
import { RecentEntries } from "./recent-entries.ts";
import { createSegment, linkBehind, type Segment, SpaceGuard, writeAtEnd } from "./segment.ts";
import {
  ENTRY_PAYLOAD_BYTES_MAX,
  type LogEntry,
  payloadChecksum,
  SEGMENT_HEADER_BYTES,
  STREAM_ID_BYTES,
} from "./segment-format.ts";
import { checkSegment, recoverSegments } from "./segment-recovery.ts";
import { SpareFiles } from "./spare-files.ts";

export interface SegmentLogOptions {
  /** A segment ends before it would be longer, unless one entry alone is. Default 64 MiB. */
  readonly segmentBytes?: number;
  /** Of all segments together; beyond it LOG_FULL until something is trimmed. */
  readonly bytesMax?: number;
  /** Left free on the log's file system. Default 0. */
  readonly reserveBytes?: number;
  /**
   * Of the entries written last, kept in memory at most until every reader has read them. Who reads
   * what is durable must otherwise read the files when more is written between two syncs. Default
   * 16 MiB.
   */
  readonly recentBytes?: number;
  /** So many files of trimmed segments are kept for new ones; no limit counts them. Default 0. */
  readonly sparesMax?: number;
}

/** What a caller appends. The log keeps the payload itself: never change its bytes. */
export interface AppendedEntry {
  readonly firstLsn: number;
  readonly lastLsn: number;
  /** Whole op records; at least 1 byte, at most ENTRY_PAYLOAD_BYTES_MAX. */
  readonly payload: Uint8Array;
  /** As of payloadChecksum(), for who has it already. */
  readonly payloadChecksum?: number;
  /**
   * The payload's memory with one page before it and two behind its last byte, of pageMemory():
   * what surrounds the payload is the log's to change. It is written around the page cache then,
   * which spares a large payload a copy and others what they have in that cache.
   */
  readonly pages?: Uint8Array | undefined;
  /** 32 bits, kept and handed back by a reader. Default 0. */
  readonly flags?: number;
}

interface Waiter {
  readonly lsn: number;
  readonly until: ReadUntil;
  readonly resolve: (lsn: number) => void;
  readonly reject: (error: unknown) => void;
}

const SEGMENT_BYTES = 64 << 20;
const SEGMENT_BYTES_LIMIT = 1 << 30;
const RECENT_BYTES = 16 << 20;
/** Written with one call, at least one entry. */
const BATCH_BYTES: number = 4 << 20;

export class SegmentLog {
  readonly #files: LogFiles;
  readonly #segmentBytes: number;
  readonly #bytesMax: number;
  readonly #space: SpaceGuard;
  readonly #spares: SpareFiles;
  readonly #readable: ReadableLog;
  readonly #readers = new Set<LogReader>();
  readonly #recent: RecentEntries;
  readonly #segments: Segment[];
  /** Of the last segment. */
  #file: LogFile | undefined;
  readonly #queue: EntryToWrite[] = [];
  #queuedBytes = 0;
  #appendedLsn: number;
  #lastLsn: number;
  #durableLsn: number;
  #waiters: Waiter[] = [];
  #running: Promise<void> | undefined;
  #trimming: Promise<void> = Promise.resolve();
  #failure: Error | undefined;
  #isStarting = false;
  #isClosed = false;
  /**
   * Told of each entry that was in memory until every reader had done with it: its payload is
   * nobody's any more. Must not throw.
   */
  onDone: ((entry: LogEntry) => void) | undefined;
  /** That {@link open} removed behind the last entry: a torn tail, or what a file once was. */
  readonly cutBytes: number;

  private constructor(
    files: LogFiles,
    options: SegmentLogOptions,
    found: { segments: Segment[]; file: LogFile | undefined; cutBytes: number },
  ) {
    this.#files = files;
    this.#segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    assert(this.#segmentBytes <= SEGMENT_BYTES_LIMIT, "SegmentLog: segments of at most 1 GiB");
    this.#bytesMax = options.bytesMax ?? Number.POSITIVE_INFINITY;
    this.#space = new SpaceGuard(files, options.reserveBytes ?? 0);
    this.#spares = new SpareFiles(files, options.sparesMax ?? 0);
    this.#recent = new RecentEntries(options.recentBytes ?? RECENT_BYTES);
    this.#segments = found.segments;
    this.#file = found.file;
    this.cutBytes = found.cutBytes;
    const lastLsn = found.segments.at(-1)?.lastLsn ?? 0;
    this.#appendedLsn = this.#lastLsn = this.#durableLsn = lastLsn;
    this.#readable = {
      segments: this.#segments,
      recent: this.#recent,
      readableLsn: (until) => this.#reached(until),
      openFile: (name) => files.open(name),
      forgetDone: () => this.#forgetDone(),
      forgetReader: (reader) => void this.#readers.delete(reader),
    };
  }

  /**
   * Opens what is in the folder, or a new log when nothing is. A torn tail is cut; all that is left
   * is durable. @throws LOG_DAMAGED: nothing was changed; LOG_IO, LOG_FULL
   */
  static async open(files: LogFiles, options: SegmentLogOptions = {}): Promise<SegmentLog> {
    return new SegmentLog(files, options, await recoverSegments(files));
  }

  /** The stream that is being appended to; undefined in a log that has none yet. */
  get stream(): Uint8Array | undefined {
    return this.#segments.at(-1)?.header.stream;
  }

  /** The lowest LSN that can be read; lastLsn + 1 when there is none. */
  get firstLsn(): number {
    return this.#segments[0]?.header.firstLsn ?? this.#lastLsn + 1;
  }

  /** The same of the stream that is being appended to. */
  get streamFirstLsn(): number {
    const { stream } = this;
    const first = this.#segments.find(({ header }) => {
      return stream !== undefined && equalBytes(header.stream, stream);
    });
    return first?.header.firstLsn ?? this.#lastLsn + 1;
  }

  /** Up to which the files hold everything. A stream's first LSN - 1 when it was just started. */
  get lastLsn(): number {
    return this.#lastLsn;
  }

  /** Up to which everything survives a power cut. */
  get durableLsn(): number {
    return this.#durableLsn;
  }

  /** Up to which everything was given to {@link append}. */
  get appendedLsn(): number {
    return this.#appendedLsn;
  }

  /** Appended and not yet written: what a caller should bound. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Of all segments. */
  get bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  /** Of its file system. @throws LOG_IO */
  freeBytes(): Promise<number> {
    return this.#space.freeBytes();
  }

  /**
   * Queues an entry that begins with appendedLsn + 1; the next {@link flush} or {@link sync} writes
   * it. @throws LOG_IO when the log has failed
   */
  append(entry: AppendedEntry): void {
    const { firstLsn, lastLsn, payload, flags = 0, pages } = entry;
    if (this.#failure !== undefined) throw this.#failure;
    assert(!this.#isClosed && !this.#isStarting, "SegmentLog.append: the log is open");
    assert(this.#segments.length > 0, "SegmentLog.append: a stream was started");
    assert(firstLsn === this.#appendedLsn + 1, () => {
      return `SegmentLog.append: LSN ${firstLsn} follows ${this.#appendedLsn}`;
    });
    assert(lastLsn >= firstLsn, "SegmentLog.append: lastLsn is not below firstLsn");
    assert(payload.length > 0, "SegmentLog.append: there is a payload");
    assert(payload.length <= ENTRY_PAYLOAD_BYTES_MAX, "SegmentLog.append: the payload is bounded");
    assert(pages === undefined || isWithinPages(payload, pages), () => {
      return "SegmentLog.append: the pages have room around the payload";
    });
    const checksum = entry.payloadChecksum ?? payloadChecksum(payload);
    const queued = { firstLsn, lastLsn, flags, payload, payloadChecksum: checksum, pages };
    this.#queue.push(queued);
    this.#queuedBytes += entryBytesMax(queued);
    this.#appendedLsn = lastLsn;
  }

  /**
   * Everything that was appended before the call is durable when it resolves, with durableLsn.
   * Concurrent calls share one fdatasync. @throws LOG_FULL: what was appended stays queued, and the
   * next call tries again; LOG_IO: nothing more is taken until the log is opened anew
   */
  sync(): Promise<number> {
    return this.#wait("durable");
  }

  /** The same for the files, without a sync: what a kill of this process leaves. */
  flush(): Promise<number> {
    return this.#wait("written");
  }

  /**
   * What is appended from now on belongs to `stream` and begins with `firstLsn`, greater than
   * appendedLsn. Durable when it resolves, and so is everything before it. Nothing may be appended
   * meanwhile. @throws LOG_FULL: the stream is as before; LOG_IO
   */
  async startStream(stream: Uint8Array, firstLsn: number): Promise<void> {
    assert(stream.length === STREAM_ID_BYTES, "SegmentLog.startStream: an id has 16 bytes");
    assert(firstLsn > this.#appendedLsn, "SegmentLog.startStream: LSNs only grow");
    assert(!this.#isClosed && !this.#isStarting, "SegmentLog.startStream: the log is open");
    const current = this.stream ?? new Uint8Array(0);
    assert(!equalBytes(stream, current), "SegmentLog.startStream: it is another stream");
    this.#isStarting = true;
    try {
      await this.sync();
      await this.#running;
      await this.#guarded(() => this.#addSegment(stream.slice(), firstLsn));
      this.#appendedLsn = this.#lastLsn = this.#durableLsn = firstLsn - 1;
    } finally {
      this.#isStarting = false;
    }
  }

  /**
   * Reads from the entry on that holds `fromLsn`, or the first later one. @throws LOG_TRIMMED
   */
  reader(fromLsn: number, until: ReadUntil = "written"): LogReader {
    if (fromLsn <= (this.#segments[0]?.header.previousLsn ?? 0)) throw logTrimmed(fromLsn);
    const reader = new LogReader(this.#readable, fromLsn, until);
    this.#readers.add(reader);
    return reader;
  }

  /**
   * Removes whole segments whose every LSN is below `lsn`, oldest first, but never the last one.
   * Readers that were to read them get LOG_TRIMMED. @throws LOG_IO
   */
  trimBelow(lsn: number): Promise<void> {
    // The folder may be another log's by now.
    if (this.#isClosed) return Promise.resolve();
    const trim = this.#trimming.then(() => this.#guarded(() => this.#trim(lsn)));
    this.#trimming = trim.catch(() => undefined);
    return trim;
  }

  /** Reads all segments but the last, which {@link open} has read. @throws LOG_DAMAGED, LOG_IO */
  async check(): Promise<void> {
    for (const segment of this.#segments.slice(0, -1)) {
      if (!segment.isGone) await checkSegment(this.#files, segment);
    }
  }

  /**
   * Syncs what is queued and closes the files, in any case. @throws as {@link sync}; what could not
   * be written is lost
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      await this.#trimming;
      if (this.#failure === undefined) await this.sync();
    } finally {
      await this.#running;
      for (const reader of [...this.#readers]) await reader.close();
      await this.#file?.close().catch(() => undefined);
      this.#file = undefined;
    }
  }

  #forgetDone(): void {
    let least = Number.POSITIVE_INFINITY;
    for (const { doneLsn } of this.#readers) least = Math.min(least, doneLsn);
    this.#recent.forgetBelow(least, this.onDone);
  }

  #reached(until: ReadUntil): number {
    return until === "durable" ? this.#durableLsn : this.#lastLsn;
  }

  #wait(until: ReadUntil): Promise<number> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const lsn = this.#appendedLsn;
    if (lsn <= this.#reached(until)) return Promise.resolve(this.#reached(until));
    return new Promise((resolve, reject) => {
      this.#waiters.push({ lsn, until, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Rounds of writing and syncing, each for all who came before it. Never rejects. */
  async #run(): Promise<void> {
    await undefined; // those who call in the same turn share the first round
    while (this.#waiters.length > 0) {
      const round = this.#waiters;
      this.#waiters = [];
      const failure = await this.#round(round).catch((error: unknown) => error);
      for (const { lsn, until, resolve, reject } of round) {
        if (lsn <= this.#reached(until)) {
          resolve(this.#reached(until));
        } else {
          reject(failure);
        }
      }
    }
    this.#running = undefined;
  }

  async #round(round: readonly Waiter[]): Promise<void> {
    const lsn = round.reduce((most, waiter) => Math.max(most, waiter.lsn), 0);
    let full: unknown;
    try {
      await this.#guarded(() => this.#writeUpTo(lsn));
    } catch (error) {
      if (!isLogFull(error)) throw error;
      full = error;
    }
    if (round.some(({ until }) => until === "durable")) await this.#guarded(() => this.#syncLast());
    if (full !== undefined) throw full;
  }

  /** Anything but LOG_FULL ends the log: what is on the disk is not known any more. */
  async #guarded(work: () => Promise<void>): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      await work();
    } catch (error) {
      const failure = ioError(error, "writing the log");
      if (!isLogFull(failure)) this.#failure ??= failure;
      throw failure;
    }
  }

  async #writeUpTo(lsn: number): Promise<void> {
    for (;;) {
      const first = this.#queue[0];
      const last = this.#segments.at(-1);
      if (first === undefined || last === undefined || first.firstLsn > lsn) return;
      const room = this.#segmentBytes - last.bytes;
      const isEmpty = last.bytes === SEGMENT_HEADER_BYTES;
      if (!isEmpty && entryBytesMax(first) > room) {
        await this.#addSegment(last.header.stream, first.firstLsn);
      } else {
        await this.#writeBatch(last, Math.min(room, BATCH_BYTES));
      }
    }
  }

  /** As many queued entries as fit in `bytesMax` and the log's limits, at least one. */
  async #writeBatch(segment: Segment, bytesMax: number): Promise<void> {
    const first = entryBytesMax(this.#queue[0] as EntryToWrite);
    const room = await this.#roomFor(Math.min(bytesMax, this.#queuedBytes), first);
    let [count, bytes] = [0, 0];
    for (const entry of this.#queue) {
      const more = entryBytesMax(entry);
      if (count > 0 && bytes + more > room) break;
      bytes += more;
      count++;
    }
    const entries = this.#queue.slice(0, count);
    const { bytes: position, durableBytes: syncedBytes, isReused: isOverOld } = segment;
    const place = { position, syncedBytes, isOverOld };
    const { pieces, ends } = encodeBatch(entries, place, segment.headerBytes);
    await writeAtEnd(segment, this.#file as LogFile, pieces);
    this.#queue.splice(0, count);
    this.#queuedBytes -= bytes;
    this.#space.wrote(bytes);
    for (const [index, entry] of entries.entries()) {
      this.#wrote(segment, entry, ends[index] as number);
    }
    this.#wake("written");
  }

  /**
   * How many of `wanted` bytes may be written, no less than `atLeast`. @throws LOG_FULL when that
   * is too many, LOG_IO
   */
  async #roomFor(wanted: number, atLeast: number): Promise<number> {
    const most = Math.max(wanted, atLeast);
    const ownRoom = this.#bytesMax - this.bytes;
    if (ownRoom < atLeast) throw logFull(`it has reached its limit of ${this.#bytesMax} bytes`);
    const diskRoom = await this.#space.room(most);
    if (diskRoom < atLeast) throw logFull("what is left of its disk is kept in reserve");
    return Math.min(most, ownRoom, diskRoom);
  }

  #wrote(segment: Segment, written: EntryToWrite, end: number): void {
    const { stream } = segment.header;
    const { firstLsn, lastLsn, flags, payload } = written;
    segment.bytes = end;
    segment.lastLsn = lastLsn;
    this.#lastLsn = lastLsn;
    const entry = { stream, firstLsn, lastLsn, flags, payload };
    this.#recent.push({ entry, segment, end });
  }

  async #syncLast(): Promise<void> {
    const segment = this.#segments.at(-1);
    if (segment === undefined || segment.durableBytes === segment.bytes) return;
    const { bytes, lastLsn } = segment;
    try {
      await (this.#file as LogFile).syncData();
    } catch (error) {
      // Never LOG_FULL, whatever the code: what was to be synced may be gone from memory, too.
      throw logIo(`syncing segment ${segment.name}`, error);
    }
    segment.durableBytes = bytes;
    this.#durableLsn = lastLsn;
    this.#wake("durable");
  }

  /** Everything before a segment is durable before it exists. */
  async #addSegment(stream: Uint8Array, firstLsn: number): Promise<void> {
    await this.#syncLast();
    const last = this.#segments.at(-1);
    const isReplacing = last?.header.firstLsn === firstLsn;
    await this.#roomFor(SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES);
    const link = isReplacing ? last.header : linkBehind(last);
    const header = { ...link, stream, firstLsn };
    const { segment, file } = await createSegment(this.#files, header, this.#spares);
    if (isReplacing) {
      last.isGone = true;
      this.#segments.pop();
    }
    this.#segments.push(segment);
    await this.#file?.close().catch(() => undefined);
    this.#file = file;
  }

  async #trim(lsn: number): Promise<void> {
    for (;;) {
      const [oldest, following] = this.#segments;
      if (oldest === undefined || following === undefined || oldest.lastLsn >= lsn) return;
      oldest.isGone = true;
      this.#segments.shift();
      try {
        // One by one: a power cut must not leave a hole between segments.
        await this.#spares.retire(oldest.name);
      } catch (error) {
        // Never LOG_FULL: whether the file is there is not known any more.
        throw logIo(`removing segment ${oldest.name}`, error);
      }
    }
  }

  #wake(until: ReadUntil): void {
    for (const reader of this.#readers) if (reader.until === until) reader.onAppended?.();
  }
}
