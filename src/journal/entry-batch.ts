/** Makes the pieces for one write of many entries. */
import { assert } from "../base/assert.ts";
import { alignUp, PAGE_BYTES } from "../base/bytes.ts";
import {
  ENTRY_HEADER_BYTES,
  encodeEntryHeader,
  encodeFiller,
  entryBytes,
  fillerBytes,
} from "./segment-format.ts";

export interface EntryToWrite {
  readonly firstLsn: number;
  readonly lastLsn: number;
  readonly flags: number;
  readonly payload: Uint8Array;
  readonly payloadChecksum: number;
  /** See {@link AppendedEntry.pages}. */
  readonly pages: Uint8Array | undefined;
}

export interface Batch {
  /** As they are to stand in the file, one behind the other. */
  readonly pieces: readonly Uint8Array[];
  /** Where each entry ends in the file. */
  readonly ends: readonly number[];
}

/** For the payload's zeros and the filler behind it, at most. */
const PAGES_BEHIND = 2;

/** A payload below this is copied beside its header: a piece of its own costs more. */
const COPY_BELOW_BYTES = 16_384;

/** How many bytes of a file the entry takes at most, wherever it is to stand. */
export function entryBytesMax({ payload, pages }: Pick<EntryToWrite, "payload" | "pages">): number {
  return entryBytes(payload.length) + (pages === undefined ? 0 : 4 * PAGE_BYTES);
}

/** True when the payload stands in `pages` as {@link AppendedEntry.pages} says. */
export function isWithinPages(payload: Uint8Array, pages: Uint8Array): boolean {
  const start = payload.byteOffset - pages.byteOffset;
  if (payload.buffer !== pages.buffer || start !== PAGE_BYTES) return false;
  return pages.length >= PAGE_BYTES + payload.length + PAGES_BEHIND * PAGE_BYTES;
}

/** What of it is not a piece of its own. */
function ownBytesMax({ payload, pages }: EntryToWrite): number {
  if (pages !== undefined) return PAGE_BYTES + ENTRY_HEADER_BYTES;
  return entryBytes(isCopied(payload) ? payload.length : 0) + 8;
}

function isCopied(payload: Uint8Array): boolean {
  return payload.length < COPY_BELOW_BYTES;
}

export interface BatchPlace {
  /** In the file. */
  readonly position: number;
  /** So much of the file is durable. */
  readonly syncedBytes: number;
  /**
   * The file has other bytes there already: zeros are to follow up to a page's start, which the
   * next batch writes over. What is not in the page cache is else read from the disk before a part
   * of a page is written.
   */
  readonly isOverOld: boolean;
}

export function encodeBatch(
  entries: readonly EntryToWrite[],
  place: BatchPlace,
  segmentHeader: Uint8Array,
): Batch {
  const encoder = new BatchEncoder(entries, place, segmentHeader);
  const ends = entries.map((entry) => encoder.add(entry));
  return { pieces: encoder.finish(place.isOverOld), ends };
}

class BatchEncoder {
  readonly #syncedBytes: number;
  readonly #segmentHeader: Uint8Array;
  readonly #pieces: Uint8Array[] = [];
  /** What is not in pieces of its own: of zeros, as what fills payloads up. */
  readonly #own: Uint8Array;
  #pieceStart = 0;
  #at = 0;
  readonly #start: number;
  #position: number;

  constructor(
    entries: readonly EntryToWrite[],
    { position, syncedBytes }: BatchPlace,
    segmentHeader: Uint8Array,
  ) {
    const bytes = entries.reduce((sum, entry) => sum + ownBytesMax(entry), PAGE_BYTES);
    this.#own = new Uint8Array(bytes);
    this.#start = this.#position = position;
    this.#syncedBytes = syncedBytes;
    this.#segmentHeader = segmentHeader;
  }

  /** Returns where it ends in the file. */
  add(entry: EntryToWrite): number {
    if (entry.pages === undefined) this.#addPlain(entry);
    else this.#addPages(entry, entry.pages);
    return this.#position;
  }

  finish(fillsPage: boolean): readonly Uint8Array[] {
    const end = fillsPage ? alignUp(this.#position, PAGE_BYTES) : this.#position;
    this.#at += end - this.#position;
    this.#endPiece();
    const bytes = this.#pieces.reduce((sum, piece) => sum + piece.length, 0);
    assert(bytes === end - this.#start, "encodeBatch: each entry stands where its end says");
    return this.#pieces;
  }

  #addPlain(entry: EntryToWrite): void {
    const { payload } = entry;
    const filled = alignUp(payload.length, 8);
    this.#putHeader(this.#own, this.#at, entry);
    this.#at += ENTRY_HEADER_BYTES;
    if (isCopied(payload)) {
      this.#own.set(payload, this.#at);
      this.#at += filled;
    } else {
      this.#endPiece();
      this.#pieces.push(payload);
      this.#at += filled - payload.length;
    }
    this.#position += entryBytes(payload.length);
  }

  /** All but the filler before its first page is written from where it is. */
  #addPages(entry: EntryToWrite, pages: Uint8Array): void {
    const { payload, firstLsn, lastLsn } = entry;
    const gap = fillerBytes(this.#position);
    this.#putFiller(this.#own, this.#at, gap, firstLsn);
    this.#at += gap;
    this.#endPiece();
    const headerAt = PAGE_BYTES - ENTRY_HEADER_BYTES;
    this.#putFiller(pages, 0, headerAt, firstLsn);
    this.#putHeader(pages, headerAt, entry);
    const end = PAGE_BYTES + alignUp(payload.length, 8);
    pages.fill(0, PAGE_BYTES + payload.length, end);
    const rest = fillerBytes(end);
    this.#putFiller(pages, end, rest, lastLsn + 1);
    this.#pieces.push(pages.subarray(0, end + rest));
    this.#position += gap + end + rest;
  }

  #putHeader(into: Uint8Array, at: number, entry: EntryToWrite): void {
    const { payload, firstLsn, lastLsn, flags, payloadChecksum } = entry;
    const { length } = payload;
    const fields = { length, firstLsn, lastLsn, flags, syncedBytes: this.#syncedBytes };
    encodeEntryHeader(into, at, fields, payloadChecksum, this.#segmentHeader);
  }

  #putFiller(into: Uint8Array, at: number, bytes: number, nextLsn: number): void {
    const place = { nextLsn, syncedBytes: this.#syncedBytes };
    encodeFiller(into, at, bytes, place, this.#segmentHeader);
  }

  #endPiece(): void {
    if (this.#at > this.#pieceStart) {
      this.#pieces.push(this.#own.subarray(this.#pieceStart, this.#at));
    }
    this.#pieceStart = this.#at;
  }
}
