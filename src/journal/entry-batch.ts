/** Makes the pieces for one write of many entries. */
import {
  ENTRY_HEADER_BYTES,
  type EntryToWrite,
  encodeEntryHeader,
  entryBytes,
} from "./segment-format.ts";

/** A payload below this is copied beside its header: a piece of its own costs more. */
const COPY_BELOW_BYTES = 16_384;

/** The entries' bytes as they are to stand in the file, one piece behind the other. */
export function encodeBatch(
  entries: readonly EntryToWrite[],
  syncedBytes: number,
  segmentHeader: Uint8Array,
): Uint8Array[] {
  const buffer = new Uint8Array(entries.reduce((sum, entry) => sum + ownBytes(entry), 0));
  const pieces: Uint8Array[] = [];
  let start = 0;
  let at = 0;
  for (const entry of entries) {
    const { payload } = entry;
    encodeEntryHeader(buffer, at, entry, syncedBytes, segmentHeader);
    if (isCopied(payload)) {
      buffer.set(payload, at + ENTRY_HEADER_BYTES);
      at += ownBytes(entry);
      continue;
    }
    pieces.push(buffer.subarray(start, at + ENTRY_HEADER_BYTES), payload);
    start = at + ENTRY_HEADER_BYTES;
    at += ownBytes(entry);
  }
  if (at > start) pieces.push(buffer.subarray(start, at));
  return pieces;
}

/** What of the entry is not a piece of its own: header and zeros, and a payload that is copied. */
function ownBytes({ payload }: EntryToWrite): number {
  return entryBytes(payload.length) - (isCopied(payload) ? 0 : payload.length);
}

function isCopied(payload: Uint8Array): boolean {
  return payload.length < COPY_BELOW_BYTES;
}
