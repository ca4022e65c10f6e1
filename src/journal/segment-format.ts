/**
 * The bytes of a log's segment. A file named by its first LSN in 16 hex digits + ".log"; all
 * numbers little-endian. A header of 64 bytes:
 *
 *      0  u64 magic
 *      8  u32 version
 *     12  u32 checksum       CRC-32 of the header with this field zero
 *     16  u8[16] stream      which life of a source's ring the LSNs belong to
 *     32  u64 firstLsn
 *     40  u64 previousLsn    last LSN of the log before this segment, 0: there was none
 *     48  u64 previousBytes  length of the file before this one, 0: there was none
 *     56  u64 previousFirst  the first LSN of that file
 *
 * The `previous` fields chain the segments: a file that is missing or cut is noticed without
 * reading it. Then entries, each at a multiple of 8, a header of 32 bytes and the payload:
 *
 *      0  u32 length         of the payload, without the zeros that fill it up to a multiple of 8
 *      4  u32 checksum       CRC-32 of this header with the field zero, going on from the low half
 *                            of the payload's XXH3-64, then of the segment's header: an entry of
 *                            any other segment is no valid entry here
 *      8  u64 firstLsn
 *     16  u64 lastLsn
 *     24  u32 flags          the caller's
 *     28  u32 synced         so many bytes / 8 of this file were durable before this was written
 *
 * `synced` tells a torn tail from damage: what a later entry says was durable cannot be torn.
 *
 * An entry whose lastLsn is below its firstLsn is a filler: its payload is not looked at, and its
 * checksum is as if it had none. A large payload stands between two of them, so that it begins at a
 * page's start, and what follows does, too: whole pages can be written around the page cache.
 */
import { crc32 } from "node:zlib";
import { alignUp, PAGE_BYTES, readU64, TWO_32, writeU64 } from "../base/bytes.ts";
import { hash32 } from "../platform/hash.ts";
import { FRAME_PAYLOAD_BYTES_MAX } from "../protocol/frame.ts";

export const SEGMENT_HEADER_BYTES = 64;
export const ENTRY_HEADER_BYTES = 32;
export const STREAM_ID_BYTES = 16;
/** Payload of one entry: that of a frame. */
export const ENTRY_PAYLOAD_BYTES_MAX: number = FRAME_PAYLOAD_BYTES_MAX;
/** A segment's length is counted in 32 bits of 8 bytes each. */
export const SEGMENT_BYTES_MAX: number = 8 * (TWO_32 - 1);

const MAGIC = new TextEncoder().encode("STANDLOG");
const VERSION = 3;
const EXTENSION = ".log";

export interface SegmentHeader {
  readonly stream: Uint8Array;
  readonly firstLsn: number;
  readonly previousLsn: number;
  readonly previousBytes: number;
  readonly previousFirst: number;
}

export interface EntryHeader {
  readonly length: number;
  readonly checksum: number;
  readonly firstLsn: number;
  readonly lastLsn: number;
  readonly flags: number;
  readonly syncedBytes: number;
}

/** An entry as it is handed out. Its bytes are shared with the log: never change them. */
export interface LogEntry {
  readonly stream: Uint8Array;
  readonly firstLsn: number;
  readonly lastLsn: number;
  readonly flags: number;
  /** Whole op records, one behind the other, unless the flags say otherwise. */
  readonly payload: Uint8Array;
}

export function segmentName(firstLsn: number): string {
  return firstLsn.toString(16).padStart(16, "0") + EXTENSION;
}

export function isSegmentName(name: string): boolean {
  return /^[0-9a-f]{16}\.log$/.test(name);
}

export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(8, VERSION, true);
  bytes.set(header.stream, 16);
  writeU64(view, 32, header.firstLsn);
  writeU64(view, 40, header.previousLsn);
  writeU64(view, 48, header.previousBytes);
  writeU64(view, 56, header.previousFirst);
  view.setUint32(12, crc32(bytes), true);
  return bytes;
}

/** What is wrong with the bytes as a string, or the header. */
export function decodeSegmentHeader(found: Uint8Array): SegmentHeader | string {
  if (found.length < SEGMENT_HEADER_BYTES) return "its header is cut";
  const bytes = found.slice(0, SEGMENT_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  if (MAGIC.some((byte, index) => bytes[index] !== byte)) return "it does not begin like a segment";
  const checksum = view.getUint32(12, true);
  view.setUint32(12, 0, true);
  if (crc32(bytes) !== checksum) return "its header has a wrong checksum";
  const version = view.getUint32(8, true);
  if (version !== VERSION) return `it has format ${version}, this release reads ${VERSION}`;
  return {
    stream: bytes.slice(16, 16 + STREAM_ID_BYTES),
    firstLsn: readU64(view, 32),
    previousLsn: readU64(view, 40),
    previousBytes: readU64(view, 48),
    previousFirst: readU64(view, 56),
  };
}

/** Bytes in the file of an entry whose payload has `length` bytes. */
export function entryBytes(length: number): number {
  return ENTRY_HEADER_BYTES + alignUp(length, 8);
}

/** The part of an entry's checksum that can be had before its place is known. */
export function payloadChecksum(payload: Uint8Array): number {
  return hash32(payload);
}

/** An entry's fields but for its checksum. */
export type EntryFields = Omit<EntryHeader, "checksum">;

/** Writes an entry's header to `into` at `at`; its payload is to follow. */
export function encodeEntryHeader(
  into: Uint8Array,
  at: number,
  fields: EntryFields,
  checksumOfPayload: number,
  segmentHeader: Uint8Array,
): void {
  const bytes = into.subarray(at, at + ENTRY_HEADER_BYTES);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  view.setUint32(0, fields.length, true);
  view.setUint32(4, 0, true);
  writeU64(view, 8, fields.firstLsn);
  writeU64(view, 16, fields.lastLsn);
  view.setUint32(24, fields.flags, true);
  view.setUint32(28, fields.syncedBytes / 8, true);
  view.setUint32(4, crc32(segmentHeader, crc32(bytes, checksumOfPayload)), true);
}

/** In place of a payload's, where it is not looked at. */
const NO_CHECKSUM = 0;

/** From `position` to a page's start, by way of a filler's header unless nothing is to fill. */
export function fillerBytes(position: number): number {
  const rest = alignUp(position, PAGE_BYTES) - position;
  return rest === 0 || rest >= ENTRY_HEADER_BYTES ? rest : rest + PAGE_BYTES;
}

/** Fills `bytes` of `into` at `at` with a filler; more than 0 must be enough for its header. */
export function encodeFiller(
  into: Uint8Array,
  at: number,
  bytes: number,
  { nextLsn, syncedBytes }: { readonly nextLsn: number; readonly syncedBytes: number },
  segmentHeader: Uint8Array,
): void {
  if (bytes === 0) return;
  const length = bytes - ENTRY_HEADER_BYTES;
  const fields = { length, firstLsn: nextLsn, lastLsn: nextLsn - 1, flags: 0, syncedBytes };
  into.fill(0, at, at + bytes);
  encodeEntryHeader(into, at, fields, NO_CHECKSUM, segmentHeader);
}

export function isFiller({ firstLsn, lastLsn }: EntryHeader): boolean {
  return lastLsn < firstLsn;
}

/** Reads a header without judging it; `bytes` has room for it at `at`. */
export function decodeEntryHeader(bytes: Uint8Array, at: number): EntryHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, ENTRY_HEADER_BYTES);
  return {
    length: view.getUint32(0, true),
    checksum: view.getUint32(4, true),
    firstLsn: readU64(view, 8),
    lastLsn: readU64(view, 16),
    flags: view.getUint32(24, true),
    syncedBytes: syncedBytesAt(view, 0),
  };
}

/** Of a header that would begin at `at`: the one field that tells most that are none. */
export function syncedBytesAt(view: DataView, at: number): number {
  return view.getUint32(at + 28, true) * 8;
}

/**
 * True when the whole entry at `at` is as it was written; of a filler, its header. All of that must
 * be in `bytes`.
 */
export function isEntrySound(
  bytes: Uint8Array,
  at: number,
  header: EntryHeader,
  segmentHeader: Uint8Array,
): boolean {
  const payloadAt = at + ENTRY_HEADER_BYTES;
  const payloadEnd = payloadAt + header.length;
  const hasPayload = !isFiller(header);
  const head = bytes.slice(at, payloadAt);
  head.fill(0, 4, 8);
  const ofPayload = hasPayload
    ? payloadChecksum(bytes.subarray(payloadAt, payloadEnd))
    : NO_CHECKSUM;
  if (crc32(segmentHeader, crc32(head, ofPayload)) !== header.checksum) return false;
  const padding = bytes.subarray(payloadEnd, at + entryBytes(header.length));
  return !hasPayload || padding.every((byte) => byte === 0);
}
