/** Divides the memory that an operator grants the ring. Pure. */
import { PAGE_BYTES } from "../base/bytes.ts";
import { StandinError } from "../base/errors.ts";
import { formatBytes } from "../base/units.ts";
import type { RingOptions } from "../journal/ring-layout.ts";

export const RING_BYTES_DEFAULT: number = 64 * 1024 * 1024;

/** What the ring's format asks for: an arena holds several records of the largest size. */
const ARENA_BYTES_MIN = 4 * 1024 * 1024;
/** More than the least, so that a burst of large writes does not wait for the reader at once. */
const ARENA_BYTES_DEFAULT_MIN = 7 * 1024 * 1024;
const INDEX_SLOT_BYTES = 32;
const INDEX_SLOTS_MIN = 4096;
/** One LSN for each 256 bytes: most ops are small, and one slot costs an eighth of that. */
const BYTES_PER_SLOT = 256;
/** The mirror thread writes too. */
const MIRROR_THREADS = 1;

/** @throws {StandinError} `RING_TOO_SMALL` */
export function ringSizes(ringBytes: number, workers: number): RingOptions {
  const arenas = workers + MIRROR_THREADS;
  const bytesMin = arenas * ARENA_BYTES_MIN + INDEX_SLOTS_MIN * INDEX_SLOT_BYTES;
  const indexSlots = Math.max(INDEX_SLOTS_MIN, powerOfTwoAtMost(ringBytes / BYTES_PER_SLOT));
  const dataBytes = ringBytes - indexSlots * INDEX_SLOT_BYTES;
  const arenaBytes = Math.floor(dataBytes / arenas / PAGE_BYTES) * PAGE_BYTES;
  if (arenaBytes < ARENA_BYTES_MIN) {
    throw new StandinError("RING_TOO_SMALL", `a ring of ${formatBytes(ringBytes)} is too small`, {
      hint: `Give at least ${formatBytes(Math.ceil(bytesMin * 1.2))} for ${workers} workers.`,
    });
  }
  return { arenas, indexSlots, arenaBytes };
}

function powerOfTwoAtMost(value: number): number {
  return 2 ** Math.floor(Math.log2(value));
}

/**
 * Folders of one job at most: each has workers of its own, in the engine that serves and in the
 * spare, and these their shares of the ring.
 */
export const PATHS_MAX = 8;

/** One that waits for the disk does not stop the other. */
const WORKERS_PER_PATH_MIN = 2;

/**
 * For all `paths` of a job, a multiple of their number. Enough that one that waits for the disk
 * does not stop the others; more would only cost memory.
 */
export function defaultWorkers(processors: number, paths = 1): number {
  const forAll = Math.min(Math.max(2 * processors, 4), 8);
  return paths * Math.max(Math.floor(forAll / paths), WORKERS_PER_PATH_MIN);
}

/** What a ring of so many workers should have when nobody says. */
export function defaultRingBytes(workers: number): number {
  return Math.max(RING_BYTES_DEFAULT, (workers + MIRROR_THREADS) * ARENA_BYTES_DEFAULT_MIN);
}
