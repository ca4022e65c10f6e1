/**
 * How many cuts a test makes, and from which seed: `STANDIN_CUTS=50 STANDIN_SEED=7`. Cut n of seed
 * s has the instants of cut 1 of seed s + n - 1.
 */
import { randomInt } from "node:crypto";

const CUTS_DEFAULT = 2;
const CUT_TIMEOUT_MS = 120_000;

export interface CutPlan {
  readonly cuts: number;
  readonly seed: number;
  /** For the whole test. */
  readonly timeoutMs: number;
}

export function cutPlan(): CutPlan {
  const cuts = Number(process.env.STANDIN_CUTS ?? CUTS_DEFAULT);
  const seed = Number(process.env.STANDIN_SEED ?? randomInt(2 ** 31));
  return { cuts, seed, timeoutMs: (cuts + 1) * CUT_TIMEOUT_MS };
}
