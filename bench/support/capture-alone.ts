/** Capture without a copy: keeper and engine over a folder, and a reader that discards. */
import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";

import { CaptureSupervisor } from "../../src/agent/capture-supervisor.ts";
import { defaultWorkers, RING_BYTES_DEFAULT, ringSizes } from "../../src/agent/ring-sizes.ts";
import { StateDirectory, sharedMemoryDirectory } from "../../src/agent/state-directory.ts";
import { HeaderAt } from "../../src/journal/ring-layout.ts";
import { Ring } from "../../src/journal/ring.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { makePrivateFolder } from "../../src/platform/files.ts";
import { processorCount } from "../../src/platform/machine.ts";
import type { Cleanup } from "./cleanup.ts";

const READER = join(import.meta.dirname, "discard-reader.ts");
const READER_START_MS = 20_000;
const DRAIN_MS = 60_000;

export class CaptureAlone {
  readonly #ring: Ring;
  #engineDeaths = 0;

  private constructor(ring: Ring) {
    this.#ring = ring;
  }

  /** `stateFolder`: for the keeper's reports; not on the file system that is measured. */
  static async start(cleanup: Cleanup, source: string, stateFolder: string): Promise<CaptureAlone> {
    const state = StateDirectory.create(stateFolder);
    const shmDir = sharedMemoryDirectory(`bench-${state.id}`);
    makePrivateFolder(shmDir);
    cleanup.add(`remove ${shmDir}`, () => rmSync(shmDir, { recursive: true, force: true }));
    const workers = defaultWorkers(processorCount());
    const ring = Ring.create(`${shmDir}/ring`, ringSizes(RING_BYTES_DEFAULT, workers));
    const capture = new CaptureAlone(ring);
    const reader = await startReader(`${shmDir}/ring`);
    cleanup.add("end the reader", () => void reader.kill("SIGKILL"));
    const supervisor = new CaptureSupervisor({
      clock: systemClock,
      state,
      config: {
        shmDir,
        workers,
        mounts: [{ index: 0, path: source, nosuid: false, nodev: false }],
        recordCopies: true,
      },
      onEvent: ({ event }) => {
        if (event === "engine-died") capture.#engineDeaths += 1;
      },
      onLost: () => {},
    });
    cleanup.add(`unmount ${source}`, () => supervisor.unmount(() => {}));
    await supervisor.start(AbortSignal.timeout(60_000));
    return capture;
  }

  /** Until everything recorded is read. */
  async settle(): Promise<void> {
    const deadline = performance.now() + DRAIN_MS;
    while (this.#ring.applied < this.#ring.head) {
      if (performance.now() > deadline) throw new Error("the reader does not catch up");
      await systemClock.sleep(5);
    }
  }

  get opsRecorded(): number {
    return this.#ring.head;
  }
  get gaps(): number {
    return this.#ring.word(HeaderAt.gaps);
  }
  get engineDeaths(): number {
    return this.#engineDeaths;
  }
}

function startReader(ringPath: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [READER, ringPath], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error("the reader does not start"));
    }, READER_START_MS);
    child.stdout.once("data", () => {
      clearTimeout(late);
      resolve(child);
    });
    child.once("exit", () => reject(new Error("the reader ended")));
  });
}
