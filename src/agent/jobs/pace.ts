/**
 * How often the loop of a job looks for what is new, at both ends of a stream.
 *
 * Each look with ops brings a frame, a write of the log, a sync and an answer, at a price that does
 * not depend on how many ops there are: with both agents on two processors, source and target took
 * a third less time with a look each 16 ms than with one each 4 (docs/PERFORMANCE.md). Questions
 * and answers of a copy wait for each other at each end, and a ring that fills is given back only
 * when somebody looks: there each look counts.
 */
import type { TargetCopy } from "../../protocol/stream-messages.ts";

const LOOK_MS = 16;
const LOOK_MS_WHEN_PRESSED = 4;

export function pauseMs(isPressed: boolean): number {
  return isPressed ? LOOK_MS_WHEN_PRESSED : LOOK_MS;
}

/** Whether the copy of a target in contact asks, and is answered. */
export function isCopying(copy: Pick<TargetCopy, "work" | "isPaused"> | undefined): boolean {
  return copy !== undefined && copy.work !== null && !copy.isPaused;
}
