/**
 * How often the loops of a job look for what is new: at both ends of a stream, and where a ring is
 * applied.
 *
 * Each look with ops brings a frame, a write of the log, a sync and an answer, at a price that does
 * not depend on how many ops there are, and one at nothing still wakes a process: with both agents
 * on two processors, source and target took a third less time with a look each 16 ms than with one
 * each 4, and again a fifth less with 32 (docs/PERFORMANCE.md). Questions and answers of a copy
 * wait for each other at each end, and a ring that fills is given back only when somebody looks:
 * there each look counts.
 */
import type { TargetCopy } from "../protocol/stream-messages.ts";

const LOOK_MS = 32;
const LOOK_MS_WHEN_PRESSED = 4;
/** A ring that is emptied is filled again by who has filled it. */
const PRESSED_MS = 100;
/** Of an arena, for who applies: who writes so much in a pause may fill it before the next look. */
export const PRESSING_FILL: number = 1 / 16;

/** Of one loop. Pure. */
export class Pace {
  #pressedUntilMs = Number.NEGATIVE_INFINITY;

  /** Somebody waits for looks, or soon will. */
  press(nowMs: number): void {
    this.#pressedUntilMs = nowMs + PRESSED_MS;
  }

  /** Until the next look. */
  pauseMs(nowMs: number): number {
    return nowMs < this.#pressedUntilMs ? LOOK_MS_WHEN_PRESSED : LOOK_MS;
  }
}

/** Whether the copy of a target in contact asks, and is answered. */
export function isCopying(copy: Pick<TargetCopy, "work" | "isPaused"> | undefined): boolean {
  return copy !== undefined && copy.work !== null && !copy.isPaused;
}
