/**
 * Opens what a log left behind: after a clean end, a kill or a power cut.
 *
 * All segments but the last were durable before the next one was made: that they are all there and
 * not cut is seen from the headers' chain, and their entries are judged when they are read. The
 * last one is read here. Where no sound entry follows, there is its end, unless a later entry says
 * that what stood there had been durable: then it is damage, and nothing is changed.
 */
import type { LogFile, LogFiles } from "../platform/log-files.ts";
import { EntryScanner, isUnsound } from "./entry-scanner.ts";
import { ioError, logDamaged } from "./log-error.ts";
import { isLeftover, type Segment, segmentOf } from "./segment.ts";
import {
  decodeEntryHeader,
  decodeSegmentHeader,
  ENTRY_HEADER_BYTES,
  ENTRY_PAYLOAD_BYTES_MAX,
  entryBytes,
  isEntrySound,
  isFiller,
  isSegmentName,
  SEGMENT_HEADER_BYTES,
  segmentName,
  syncedBytesAt,
} from "./segment-format.ts";

export interface Recovered {
  readonly segments: Segment[];
  /** Of the last segment, open for writing; undefined when there is none. */
  readonly file: LogFile | undefined;
  /** That stood behind the last entry, and are gone now. */
  readonly cutBytes: number;
}

/** What is there is durable when this resolves. @throws LOG_DAMAGED, LOG_IO */
export async function recoverSegments(files: LogFiles): Promise<Recovered> {
  const opened: LogFile[] = [];
  try {
    return await recover(files, opened);
  } catch (error) {
    for (const file of opened) await file.close().catch(() => undefined);
    throw ioError(error, "opening the log");
  }
}

async function recover(files: LogFiles, opened: LogFile[]): Promise<Recovered> {
  const names = await files.list();
  const segments: Segment[] = [];
  for (const name of names.filter(isSegmentName).sort()) {
    await opened.pop()?.close();
    const file = await files.open(name);
    opened.push(file);
    segments.push(await openSegment(name, file, segments.at(-1)));
  }
  for (const name of names.filter(isLeftover)) await files.remove(name);
  const [last, file] = [segments.at(-1), opened[0]];
  if (last === undefined || file === undefined) return { segments, file: undefined, cutBytes: 0 };
  const cutBytes = await recoverTail(last, file);
  await files.syncFolder();
  return { segments, file, cutBytes };
}

async function openSegment(
  name: string,
  file: LogFile,
  previous: Segment | undefined,
): Promise<Segment> {
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES);
  const header = decodeSegmentHeader(bytes.subarray(0, await file.read(bytes, 0)));
  if (typeof header === "string") throw logDamaged(name, header);
  if (name !== segmentName(header.firstLsn)) throw logDamaged(name, "it is another segment's file");
  const segment = segmentOf(header, await file.size(), header.firstLsn - 1);
  if (previous !== undefined) {
    const problem = brokenLink(previous, segment);
    if (problem !== undefined) throw logDamaged(previous.name, problem);
    previous.bytes = previous.durableBytes = header.previousBytes;
    previous.lastLsn = header.previousLsn;
  }
  return segment;
}

function brokenLink(previous: Segment, { header, name }: Segment): string | undefined {
  if (header.previousFirst !== previous.header.firstLsn) {
    return `segments between it and ${name} are missing`;
  }
  // It may be longer: what is behind its end is of an earlier use of the file.
  if (header.previousBytes <= previous.bytes) return undefined;
  return `it has ${previous.bytes} bytes where ${header.previousBytes} were written`;
}

async function recoverTail(segment: Segment, file: LogFile): Promise<number> {
  const size = segment.bytes;
  const { headerBytes, header, name } = segment;
  const scanner = new EntryScanner(file, headerBytes, SEGMENT_HEADER_BYTES, header.firstLsn);
  let syncedBytes = SEGMENT_HEADER_BYTES;
  for (;;) {
    const scanned = await scanner.next(size);
    if (scanned === undefined) break;
    if (isUnsound(scanned)) {
      await refuseDamage(segment, file, scanner, scanned.problem);
      break;
    }
    syncedBytes = scanned.header.syncedBytes;
  }
  const end = scanner.position;
  // Also to the size that it has: an earlier truncate may be one of those that were never synced.
  await file.truncate(end);
  await writeAgain(file, syncedBytes, end);
  try {
    await file.syncData();
  } catch (error) {
    throw ioError(error, `syncing segment ${name}`);
  }
  segment.bytes = end;
  segment.durableBytes = end;
  segment.lastLsn = scanner.nextLsn - 1;
  return size - end;
}

/**
 * @throws LOG_DAMAGED when a sound entry behind the scanner's position says it was durable, or what
 * is left of a filler does: its header
 */
async function refuseDamage(
  segment: Segment,
  file: LogFile,
  scanner: EntryScanner,
  problem: string,
): Promise<void> {
  const end = scanner.position;
  const rest = new Uint8Array(segment.bytes - end);
  const found = await file.read(rest, end);
  const view = new DataView(rest.buffer);
  for (let at = 8; at + ENTRY_HEADER_BYTES <= found; at += 8) {
    const syncedBytes = syncedBytesAt(view, at);
    if (syncedBytes <= end || syncedBytes > end + at) continue;
    const header = decodeEntryHeader(rest, at);
    if (header.firstLsn < scanner.nextLsn) continue;
    if (header.length > ENTRY_PAYLOAD_BYTES_MAX) continue;
    const isWhole = header.length > 0 && at + entryBytes(header.length) <= found;
    if (!isWhole && !isFiller(header)) continue;
    if (isEntrySound(rest, at, header, segment.headerBytes)) {
      throw logDamaged(segment.name, problem);
    }
  }
}

const AGAIN_BYTES: number = 1 << 20;

/**
 * What was perhaps never synced, or whose sync failed, is read from the page cache here, and the
 * kernel may think that it is on the disk: only a new write makes a sync tell the truth.
 */
async function writeAgain(file: LogFile, start: number, end: number): Promise<void> {
  for (let at = start; at < end; at += AGAIN_BYTES) {
    const bytes = new Uint8Array(Math.min(AGAIN_BYTES, end - at));
    await file.read(bytes, at);
    await file.write([bytes], at);
  }
}

/** Reads all of a segment that is not written any more. @throws LOG_DAMAGED, LOG_IO */
export async function checkSegment(files: LogFiles, segment: Segment): Promise<void> {
  const { name, headerBytes, header, bytes } = segment;
  let file: LogFile | undefined;
  try {
    file = await files.open(name);
    const scanner = new EntryScanner(file, headerBytes, SEGMENT_HEADER_BYTES, header.firstLsn);
    for (;;) {
      const scanned = await scanner.next(bytes);
      if (scanned === undefined) break;
      if (isUnsound(scanned)) throw logDamaged(name, scanned.problem);
    }
    if (scanner.nextLsn !== segment.lastLsn + 1) throw logDamaged(name, "it ends too early");
  } catch (error) {
    throw ioError(error, `reading segment ${name}`);
  } finally {
    await file?.close().catch(() => undefined);
  }
}
