/**
 * Where things lie in the ring's shared memory. One file in /dev/shm per job:
 *
 *     header     one page: identity, positions, states (each hot word on a cache line of its own)
 *     arenas     one line per arena: how far its writer and the reader are
 *     intents    one line per worker: what it was about to do beneath; then the doubts that killed
 *                engines left (the engine's affair, see capture/intents.ts)
 *     commands   a queue from the applying side to the mirror thread (see command-queue.ts)
 *     index      LSN -> place of the record: one slot of 32 bytes per LSN, reused in a circle
 *     data       the arenas themselves, one per writer, each a circle of records
 *
 * Records lie in per-writer arenas and only the index is shared, so that a writer can let the
 * kernel read a request straight to the place where its record will stay.
 */
import { alignUp, PAGE_BYTES } from "../base/bytes.ts";

export const RING_MAGIC = 0x4e545352; // "RSTN"
export const RING_VERSION = 1;

/** Byte offsets in the header page. */
export const HeaderAt = {
  magic: 0,
  version: 4,
  arenas: 8,
  indexSlots: 12,
  arenaBytes: 16,
  /** i32: low half of the last LSN that was taken (see Ring.head). */
  head: 64,
  /** f64: last LSN that the reader is done with. */
  applied: 128,
  /** i32: 1 while the reader sleeps on `doorbell`, and nobody is about to wake it. */
  readerWaiting: 192,
  /** i32: futex word of the reader. */
  doorbell: 196,
  /** i32: RecordingState. */
  recording: 256,
  /** i32: counts engines that have served this ring. */
  engineGeneration: 260,
  /** i32: counts the gaps so far. */
  gaps: 264,
  /** i32: counts ops that were not recorded since the last gap began. */
  opsLost: 268,
  /** i32: pid of the engine, 0 when none runs. */
  enginePid: 272,
  /** i32: pid of the process that reads the ring, 0 when none runs. */
  readerPid: 276,
  /** i32: futex word of the engine's mirror thread. */
  commandBell: 280,
  /** i32: counts the rounds in which all owed times were settled (see owed-times.ts). */
  settleRound: 284,
  /** The table of owed times: OWED_TIMES slots. */
  owedTimes: 1024,
} as const;

/** Of files whose modification time is owed at once; more are read at once instead. */
export const OWED_TIMES = 128;
export const OWED_TIME_BYTES = 16;

/** What the engine does with ops. */
export const RecordingState = {
  /** Ops are not recorded: nobody keeps a copy (capture alone, or before the first mirror). */
  off: 0,
  on: 1,
  /** The ring was full for too long: ops are lost until the reader asks for a resync. */
  gap: 2,
} as const;

export const HEADER_BYTES = 4096;
export const ARENA_LINE_BYTES = 64;
export const INTENT_LINE_BYTES = 128;
export const INDEX_SLOT_BYTES = 32;
/** Lines of intents and doubts per arena. */
export const INTENT_LINES_PER_ARENA = 3;
export const COMMAND_SLOTS = 1024;
export const COMMAND_BYTES = 64;
export const COMMAND_HEADER_BYTES = 128;

/** Sizes that the creator of a ring chooses. */
export interface RingOptions {
  /** Writers: the request workers and the mirror thread. */
  readonly arenas: number;
  /** A power of two. */
  readonly indexSlots: number;
  /** Of one arena; a multiple of the page size, at least 4 MiB. */
  readonly arenaBytes: number;
}

export interface RingLayout extends RingOptions {
  readonly arenaLinesAt: number;
  readonly intentsAt: number;
  readonly commandsAt: number;
  readonly indexAt: number;
  readonly dataAt: number;
  readonly totalBytes: number;
}

export function ringLayout(options: RingOptions): RingLayout {
  const arenaLinesAt = HEADER_BYTES;
  const intentsAt = arenaLinesAt + options.arenas * ARENA_LINE_BYTES;
  const commandsAt = alignUp(
    intentsAt + options.arenas * INTENT_LINES_PER_ARENA * INTENT_LINE_BYTES,
    PAGE_BYTES,
  );
  const commandsEnd = commandsAt + COMMAND_HEADER_BYTES + COMMAND_SLOTS * COMMAND_BYTES;
  const indexAt = alignUp(commandsEnd, PAGE_BYTES);
  const dataAt = alignUp(indexAt + options.indexSlots * INDEX_SLOT_BYTES, PAGE_BYTES);
  const totalBytes = dataAt + options.arenas * options.arenaBytes;
  return { ...options, arenaLinesAt, intentsAt, commandsAt, indexAt, dataAt, totalBytes };
}
