/** What a benchmark set up and must take away again, whatever happens: last first. */

interface Step {
  readonly what: string;
  readonly undo: () => void | Promise<void>;
}

export class Cleanup {
  readonly #steps: Step[] = [];

  add(what: string, undo: Step["undo"]): void {
    this.#steps.push({ what, undo });
  }

  /** A step that fails is reported and does not keep the others from running. */
  async run(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step.undo();
      } catch (error) {
        console.error(`could not ${step.what}: ${(error as Error).message}`);
        process.exitCode = 1;
      }
    }
  }
}

/** Runs `work`, and the cleanup after it: also after an error, Ctrl-C or SIGTERM. */
export async function withCleanup(work: (cleanup: Cleanup) => Promise<void>): Promise<void> {
  const cleanup = new Cleanup();
  const onSignal = () => void cleanup.run().then(() => process.exit(130));
  process.once("SIGINT", onSignal);
  process.once("SIGTERM", onSignal);
  try {
    await work(cleanup);
  } catch (error) {
    console.error((error as Error).stack);
    process.exitCode = 1;
  } finally {
    await cleanup.run();
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
}
