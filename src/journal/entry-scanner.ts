/** Reads the entries of one segment in order and judges each; nothing unsound is handed out. */
import { uninitialized } from "../base/bytes.ts";
import type { LogFile } from "../platform/log-files.ts";
import {
  decodeEntryHeader,
  ENTRY_HEADER_BYTES,
  ENTRY_PAYLOAD_BYTES_MAX,
  type EntryHeader,
  entryBytes,
  isEntrySound,
  isFiller,
} from "./segment-format.ts";

const NOTHING = new Uint8Array(0);
/** Read at once, unless a single entry is longer. */
const CHUNK_BYTES: number = 1 << 20;

export interface ScannedEntry {
  readonly header: EntryHeader;
  readonly payload: Uint8Array;
}

/** Why there is no sound entry at the scanner's position. */
export interface Unsound {
  readonly problem: string;
}

export class EntryScanner {
  readonly #file: LogFile;
  readonly #segmentHeader: Uint8Array;
  /** Where the next entry begins in the file. */
  position: number;
  /** The LSN with which it begins. */
  nextLsn: number;
  #chunk: Uint8Array = NOTHING;
  #chunkAt = 0;

  constructor(file: LogFile, segmentHeader: Uint8Array, position: number, nextLsn: number) {
    this.#file = file;
    this.#segmentHeader = segmentHeader;
    this.position = position;
    this.nextLsn = nextLsn;
  }

  /**
   * The next entry before `end`, undefined when there is none any more: it is then at `end`. Where
   * something is unsound it stands before that. The payload is a view of bytes that are not used
   * again. Rejects with the system's error.
   */
  async next(end: number): Promise<ScannedEntry | Unsound | undefined> {
    for (;;) {
      if (this.position === end) return undefined;
      const scanned = await this.#nextOrFiller(end);
      if (isUnsound(scanned) || !isFiller(scanned.header)) return scanned;
    }
  }

  async #nextOrFiller(end: number): Promise<ScannedEntry | Unsound> {
    const { position } = this;
    if (end - position < ENTRY_HEADER_BYTES) return { problem: this.#at("an entry is cut") };
    if (!(await this.#fill(ENTRY_HEADER_BYTES, end))) return { problem: this.#at("it is cut") };
    const header = decodeEntryHeader(this.#chunk, position - this.#chunkAt);
    const problem = this.#judgeHeader(header, end);
    if (problem !== undefined) return { problem: this.#at(problem) };
    const bytes = entryBytes(header.length);
    if (!(await this.#fill(bytes, end))) return { problem: this.#at("it is cut") };
    const at = position - this.#chunkAt;
    if (!isEntrySound(this.#chunk, at, header, this.#segmentHeader)) {
      return { problem: this.#at("an entry has a wrong checksum") };
    }
    this.position = position + bytes;
    this.nextLsn = header.lastLsn + 1;
    const start = at + ENTRY_HEADER_BYTES;
    return { header, payload: this.#chunk.subarray(start, start + header.length) };
  }

  #judgeHeader(header: EntryHeader, end: number): string | undefined {
    const isEmpty = header.length === 0 && !isFiller(header);
    if (isEmpty || header.length > ENTRY_PAYLOAD_BYTES_MAX) return "there is no entry";
    if (this.position + entryBytes(header.length) > end) return "an entry is cut";
    if (header.firstLsn !== this.nextLsn) return `LSN ${this.nextLsn} does not follow`;
    if (header.lastLsn < header.firstLsn - 1) return "an entry has LSNs in no order";
    if (header.syncedBytes > this.position) return "an entry says that what follows was durable";
    return undefined;
  }

  #at(problem: string): string {
    return `${problem} at byte ${this.position}`;
  }

  /** `bytes` from the position on are in the chunk. False: the file has not so many. */
  async #fill(bytes: number, end: number): Promise<boolean> {
    const chunkEnd = this.#chunkAt + this.#chunk.length;
    if (this.position >= this.#chunkAt && this.position + bytes <= chunkEnd) return true;
    const wanted = Math.max(bytes, Math.min(CHUNK_BYTES, end - this.position));
    const chunk = uninitialized(wanted);
    const isWithin = this.position >= this.#chunkAt && this.position < chunkEnd;
    const known = isWithin ? this.#chunk.subarray(this.position - this.#chunkAt) : NOTHING;
    chunk.set(known);
    const position = this.position + known.length;
    const found = known.length + (await this.#file.read(chunk.subarray(known.length), position));
    this.#chunk = chunk.subarray(0, found);
    this.#chunkAt = this.position;
    return found >= bytes;
  }
}

export function isUnsound(scanned: ScannedEntry | Unsound): scanned is Unsound {
  return "problem" in scanned;
}
