/** Waits until the ring holds the true times of what was written (see journal/owed-times.ts). */
import { OwedTimes } from "../journal/owed-times.ts";
import type { Ring } from "../journal/ring.ts";
import { StandinError } from "../base/errors.ts";
import type { Clock } from "../platform/clock.ts";

const POLL_MS = 5;
/** The round under way may have passed over what came behind its beginning; the next does not. */
const ROUNDS = 2;

/**
 * Settles when no op of before the call waits for the time that belongs to it, or `signal` is
 * aborted. @throws {StandinError} `FLUSH_TIMEOUT`
 */
export async function timesSettled(
  ring: Ring,
  clock: Clock,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const owed = new OwedTimes(ring);
  const last = owed.rounds + ROUNDS;
  const deadline = clock.monotonicMs() + timeoutMs;
  while (!owed.isEmpty && owed.rounds < last && signal?.aborted !== true) {
    if (clock.monotonicMs() >= deadline) {
      const problem = "times of files that were just written could not be read";
      const hint = "Look at standin status: the engine may not run, or a disk may be stuck.";
      throw new StandinError("FLUSH_TIMEOUT", `${problem} within ${timeoutMs / 1000} s`, { hint });
    }
    await clock.sleep(POLL_MS, signal);
  }
}
