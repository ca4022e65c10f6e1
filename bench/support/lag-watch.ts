/** Asks a job now and then how far behind its target is, while a load runs. */
import type { SourceStatus } from "../../src/agent/jobs/job-status.ts";
import { systemClock } from "../../src/platform/clock.ts";

/**
 * Rarely, since each answer takes time of the agents that are measured: asked every 50 ms they
 * spent an eighth of it on answers.
 */
const SAMPLE_MS = 200;

export class LagWatch {
  /** Age of the oldest op that was not applied, as the source's agent knew it, within 32 ms. */
  readonly #agesMs: number[] = [];
  #isOver = false;
  #running: Promise<void> = Promise.resolve();

  static start(status: () => Promise<SourceStatus>): LagWatch {
    const watch = new LagWatch();
    watch.#running = watch.#run(status);
    return watch;
  }

  async #run(status: () => Promise<SourceStatus>): Promise<void> {
    while (!this.#isOver) {
      const { targets } = await status();
      const [target] = targets;
      if (target === undefined) throw new Error("the job has no target");
      this.#agesMs.push(target.lagSeconds * 1000);
      await systemClock.sleep(SAMPLE_MS);
    }
  }

  /** Of the moments that were asked for, all alike. */
  async stop(): Promise<{ lagP50Ms: number; lagP99Ms: number; lagMaxMs: number }> {
    this.#isOver = true;
    await this.#running;
    const ages = this.#agesMs.toSorted((a, b) => a - b);
    const at = (share: number) => ages[Math.ceil(share * ages.length) - 1] ?? 0;
    return { lagP50Ms: at(0.5), lagP99Ms: at(0.99), lagMaxMs: at(1) };
  }
}
