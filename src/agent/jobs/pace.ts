/**
 * How often the loop of a job looks for what is new, at both ends of a stream.
 *
 * Each look with ops brings a frame, a write of the log, a sync and an answer, at a price that does
 * not depend on how many ops there are: with both agents on two processors, pgbench was 7 % slower
 * with a look each 4 ms (docs/PERFORMANCE.md). Questions and answers of a copy wait for each other
 * at each end, so there each look counts.
 */
const LOOK_MS = 16;
const LOOK_MS_WHILE_COPYING = 4;

export function pauseMs(isCopying: boolean): number {
  return isCopying ? LOOK_MS_WHILE_COPYING : LOOK_MS;
}
