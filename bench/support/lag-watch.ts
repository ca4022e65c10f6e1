/** Asks a job again and again how far its target is, while a load runs. */
import type { SourceStatus } from "../../src/agent/jobs/job-status.ts";
import { LagTracker } from "../../src/agent/lag-tracker.ts";
import { systemClock } from "../../src/platform/clock.ts";

/** What is found is no finer; but each answer takes time of the agents that are measured. */
const SAMPLE_MS = 50;

export class LagWatch {
  readonly #lag = new LagTracker();
  #isOver = false;
  #running: Promise<void> = Promise.resolve();

  static start(status: () => Promise<SourceStatus>): LagWatch {
    const watch = new LagWatch();
    watch.#running = watch.#run(status);
    return watch;
  }

  async #run(status: () => Promise<SourceStatus>): Promise<void> {
    let isFirst = true;
    while (!this.#isOver) {
      const { lsn, targets } = await status();
      // What is there at the start is not this load's.
      const applied = isFirst ? lsn : (targets[0]?.appliedLsn ?? 0);
      this.#lag.observe(performance.now(), lsn, applied);
      isFirst = false;
      await systemClock.sleep(SAMPLE_MS);
    }
  }

  /** In ms. */
  async stop(): Promise<{ lagP50Ms: number; lagP99Ms: number; lagMaxMs: number }> {
    this.#isOver = true;
    await this.#running;
    const { p50Ms, p99Ms, maxMs } = this.#lag.figures();
    return { lagP50Ms: p50Ms, lagP99Ms: p99Ms, lagMaxMs: maxMs };
  }
}
