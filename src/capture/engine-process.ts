/**
 * Entry of the capture engine: serves the mounts of a job and records what changes. It keeps nothing in its own
 * memory that matters: node ids, holds and what is in flight are in shared memory or in the connection, so that it
 * can be killed at any instant and another takes over (see intents.ts).
 *
 * The main thread only starts the workers and watches them.
 */
import { Worker } from "node:worker_threads";
import { NOTIFY_RESEND } from "../fuse/abi.ts";
import { mountedDevice, setReadAhead } from "../fuse/mount.ts";
import { Ring } from "../journal/ring.ts";
import { HeaderAt } from "../journal/ring-layout.ts";
import { existsSync } from "../platform/files.ts";
import { ENODEV, fstatfs, write } from "../platform/libc.ts";
import { reportLine, scriptConfig } from "../platform/processes.ts";
import type { EngineConfig, EngineMount } from "./engine-config.ts";
import { allocateShared, type EngineShared, type WorkerMessage } from "./engine-shared.ts";
import { Gate } from "./engine-shared.ts";
import { Intents } from "./intents.ts";
import { NodeTable } from "./node-table.ts";
import { nodeTablePath } from "./worker-setup.ts";

const STDOUT = 1;
/** Large enough that a sequential reader asks seldom, small enough not to read what nobody wants. */
const READ_AHEAD_KIB = 1024;
const CATCH_UP_MS = 500;

class Engine {
  readonly #config: EngineConfig;
  readonly #ring: Ring;
  readonly #shared = new Map<number, EngineShared>();
  #workersReady = 0;
  #workersLeft = 0;
  #errno = ENODEV;

  constructor(config: EngineConfig) {
    this.#config = config;
    this.#ring = Ring.open(`${config.shmDir}/ring`);
  }

  start(): void {
    this.#takeOver();
    for (const mount of this.#config.mounts) {
      this.#shared.set(mount.index, allocateShared());
      this.#prepareNodes(mount);
    }
    this.#startWorkers();
  }

  /** Puts in order what an engine before this one left, before any worker writes. */
  #takeOver(): void {
    const ring = this.#ring;
    const holes = ring.voidHoles();
    new Intents(ring, 0).collectDoubts();
    ring.addWord(HeaderAt.engineGeneration, 1);
    ring.setWord(HeaderAt.enginePid, process.pid);
    if (holes > 0) reportLine(STDOUT, { event: "holes-voided", holes });
  }

  #prepareNodes(mount: EngineMount): void {
    const path = nodeTablePath(this.#config.shmDir, mount.index);
    const { nodeLocks } = this.#sharedOf(mount);
    if (this.#config.adopted && existsSync(path)) return;
    NodeTable.create(path, inodesInUse(mount.rootFd), nodeLocks).close();
  }

  #sharedOf(mount: EngineMount): EngineShared {
    const shared = this.#shared.get(mount.index);
    if (shared === undefined) throw new Error(`mount ${mount.index} is not known`);
    return shared;
  }

  #startWorkers(): void {
    const { mounts } = this.#config;
    const arenas = this.#ring.layout.arenas - 1;
    const perMount = Math.max(1, Math.min(this.#config.workers, Math.floor(arenas / mounts.length)));
    let arena = 0;
    for (const mount of mounts) {
      for (let i = 0; i < perMount; i++) this.#startWorker(mount, arena++, i === 0);
    }
    const first = mounts[0];
    if (first !== undefined) this.#startMirror(first, arenas);
  }

  #startWorker(mount: EngineMount, arena: number, isFirst: boolean): void {
    this.#workersLeft += 1;
    const worker = this.#spawn("./engine-worker.ts", mount, arena, isFirst);
    worker.on("message", (message: WorkerMessage) => this.#onMessage(message));
  }

  #startMirror(mount: EngineMount, arena: number): void {
    this.#spawn("./mirror-worker.ts", mount, arena, false);
  }

  #spawn(script: string, mount: EngineMount, arena: number, isFirst: boolean): Worker {
    const worker = new Worker(new URL(script, import.meta.url), {
      workerData: {
        shmDir: this.#config.shmDir,
        mount,
        shared: this.#sharedOf(mount),
        arena,
        isFirst,
        recordCopies: this.#config.recordCopies ?? true,
      },
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 },
    });
    // A thread that dies of an error leaves locks behind: the whole engine goes, and the next one starts clean.
    worker.on("error", (error) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      process.stderr.write(`engine: ${text}\n`);
      process.exit(1);
    });
    return worker;
  }

  #onMessage(message: WorkerMessage): void {
    switch (message.kind) {
      case "ready":
        this.#workersReady += 1;
        if (this.#workersReady === this.#workersLeft) this.#onAllReady();
        return;
      case "bug":
        process.stderr.write(`engine: bug: ${message.message}\n`);
        return;
      case "ended":
        this.#errno = message.errno;
        this.#workersLeft -= 1;
        if (this.#workersLeft === 0) process.exit(this.#errno === ENODEV ? 0 : 1);
    }
  }

  #onAllReady(): void {
    for (const mount of this.#config.mounts) {
      if (this.#config.adopted) askToSendAgain(mount.fuseFd);
      this.#openGateLater(mount);
      const device = mountedDevice(mount.path);
      if (device !== undefined) setReadAhead(device.minor, READ_AHEAD_KIB);
    }
    reportLine(STDOUT, { event: "serving", pid: process.pid });
  }

  /** When nothing was in flight, no request comes that would open the gate. */
  #openGateLater(mount: EngineMount): void {
    const gate = new Int32Array(this.#sharedOf(mount).gate);
    setTimeout(() => {
      if (Atomics.exchange(gate, Gate.open, 1) === 0) Atomics.notify(gate, Gate.open);
    }, CATCH_UP_MS);
  }
}

/** `struct statfs` of x86-64: u64 files at 40, u64 ffree at 48. File systems without a table of inodes say 0. */
function inodesInUse(fd: number): number {
  const status = Buffer.alloc(120);
  if (fstatfs(fd, status) < 0) return 0;
  return Number(status.readBigUInt64LE(40) - status.readBigUInt64LE(48));
}

/** Asks the kernel to send again every request that was read and not answered; before linux 6.9 it refuses. */
function askToSendAgain(fuseFd: number): void {
  const message = Buffer.alloc(16);
  message.writeUInt32LE(message.length, 0);
  message.writeInt32LE(NOTIFY_RESEND, 4);
  write(fuseFd, message, message.length);
}

new Engine(scriptConfig() as EngineConfig).start();
