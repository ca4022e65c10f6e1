/** One file of the log as the log knows it, and how a new one comes to be. */
import type { LogFile, LogFiles } from "../platform/log-files.ts";
import { ioError, isLogFull, logIo } from "./log-error.ts";
import {
  encodeSegmentHeader,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  segmentName,
} from "./segment-format.ts";
import { SPARE, type SpareFiles } from "./spare-files.ts";

export interface Segment {
  readonly name: string;
  readonly header: SegmentHeader;
  readonly headerBytes: Uint8Array;
  /** As far as it was written; its file may be longer, see {@link SpareFiles}. */
  bytes: number;
  durableBytes: number;
  /** Of its last entry; its first LSN - 1 when there is none. */
  lastLsn: number;
  /** Its file was another's, and has that one's bytes behind its own. */
  readonly isReused: boolean;
  /** It was removed, or replaced by one that begins with the same LSN. */
  isGone: boolean;
}

/** What the header of the segment behind `last` says of it. */
export function linkBehind(
  last: Segment | undefined,
): Pick<SegmentHeader, "previousLsn" | "previousBytes" | "previousFirst"> {
  return {
    previousLsn: last?.lastLsn ?? 0,
    previousBytes: last?.bytes ?? 0,
    previousFirst: last?.header.firstLsn ?? 0,
  };
}

/** Ending of a name that is no segment's: the log was ended while it made one. */
const UNFINISHED = ".new";

/** Files that only the process which left them could go on with. */
export function isLeftover(name: string): boolean {
  return name.endsWith(UNFINISHED) || name.endsWith(SPARE);
}

export function segmentOf(
  header: SegmentHeader,
  bytes: number,
  lastLsn: number,
  isReused = false,
): Segment {
  return {
    name: segmentName(header.firstLsn),
    header,
    headerBytes: encodeSegmentHeader(header),
    bytes,
    durableBytes: bytes,
    lastLsn,
    isReused,
    isGone: false,
  };
}

/**
 * A file with nothing of this segment but the header. It gets its name when its bytes are on the
 * disk, so that a file with a segment's name always has a whole header; name and header are durable
 * when this resolves. @throws LOG_FULL: nothing has happened; LOG_IO
 */
export async function createSegment(
  files: LogFiles,
  header: SegmentHeader,
  spares: SpareFiles,
): Promise<{ segment: Segment; file: LogFile }> {
  const spare = spares.take();
  const isReused = spare !== undefined;
  const segment = segmentOf(header, SEGMENT_HEADER_BYTES, header.firstLsn - 1, isReused);
  const from = spare ?? segment.name + UNFINISHED;
  let file: LogFile | undefined;
  try {
    file = await (spare === undefined ? files.create(from) : files.open(from));
    await file.write([segment.headerBytes], 0);
    await file.syncData();
    await files.rename(from, segment.name);
  } catch (error) {
    // Whatever a failed sync left of this file, the next attempt begins with another.
    await file?.close().catch(() => undefined);
    await files.remove(from).catch(() => undefined);
    throw ioError(error, `creating segment ${segment.name}`);
  }
  try {
    await files.syncFolder();
  } catch (error) {
    await file.close().catch(() => undefined);
    throw logIo("syncing the log's folder", error);
  }
  return { segment, file };
}

/** Writes at the end of `segment`. On LOG_FULL the file is as before. @throws LOG_FULL, LOG_IO */
export async function writeAtEnd(
  segment: Segment,
  file: LogFile,
  pieces: readonly Uint8Array[],
): Promise<void> {
  try {
    await file.write(pieces, segment.bytes);
  } catch (error) {
    const failure = ioError(error, `writing segment ${segment.name}`);
    if (isLogFull(failure)) await cutBack(segment, file);
    throw failure;
  }
}

async function cutBack(segment: Segment, file: LogFile): Promise<void> {
  try {
    await file.truncate(segment.bytes);
  } catch (error) {
    throw logIo(`cutting segment ${segment.name}`, error);
  }
}

/** How much may be written before the file system must be asked again. */
export class SpaceGuard {
  readonly #files: LogFiles;
  readonly #reserveBytes: number;
  #allowance = 0;

  /** `reserveBytes` of the file system are left free, for others. 0: it is not asked. */
  constructor(files: LogFiles, reserveBytes: number) {
    this.#files = files;
    this.#reserveBytes = reserveBytes;
  }

  /** How many of `bytes` may be written now; {@link wrote} is to follow. @throws LOG_IO */
  async room(bytes: number): Promise<number> {
    if (this.#reserveBytes === 0) return bytes;
    if (bytes > this.#allowance) this.#allowance = await this.#look(bytes);
    return Math.min(bytes, this.#allowance);
  }

  wrote(bytes: number): void {
    this.#allowance -= bytes;
  }

  /** Of the whole file system, whatever is left for others. @throws LOG_IO */
  async freeBytes(): Promise<number> {
    try {
      return await this.#files.freeBytes();
    } catch (error) {
      throw logIo("asking for the free space of the log's disk", error);
    }
  }

  async #look(bytes: number): Promise<number> {
    const usable = Math.max(0, (await this.freeBytes()) - this.#reserveBytes);
    // Others use the disk as well: half of what is left, and look again.
    return Math.min(usable, Math.max(bytes, Math.min(usable / 2, ASK_AGAIN_BYTES)));
  }
}

const ASK_AGAIN_BYTES: number = 64 << 20;
