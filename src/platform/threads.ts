/** Threads of this process, and the processors that there are for them. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";

export type Thread = Worker;

export function processorCount(): number {
  return availableParallelism();
}

export interface ThreadOptions {
  /** `import.meta.url` of the starting module, to which `script` is relative. */
  readonly base: string;
  readonly script: string;
  /** Handed over by structured clone; shared memory stays shared. */
  readonly data: unknown;
  readonly heapMebibytesMax: number;
}

export function startThread(options: ThreadOptions): Thread {
  return new Worker(new URL(options.script, options.base), {
    workerData: options.data,
    resourceLimits: {
      maxOldGenerationSizeMb: options.heapMebibytesMax,
      maxYoungGenerationSizeMb: 4,
    },
  });
}
