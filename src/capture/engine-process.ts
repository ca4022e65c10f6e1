/**
 * Entry of the capture engine: serves the mounts of a job and records what changes. It keeps
 * nothing in its own memory that matters: node ids, holds and what is in flight are in shared
 * memory or in the connection, so that it can be killed at any instant and another takes over (see
 * intents.ts).
 *
 * The main thread only starts the workers and watches them.
 */
import { NOTIFY_RESEND } from "../fuse/abi.ts";
import { Ring } from "../journal/ring.ts";
import { OwedTimes } from "../journal/owed-times.ts";
import { HeaderAt } from "../journal/ring-layout.ts";
import { existsSync } from "../platform/files.ts";
import { ENODEV } from "../platform/errno.ts";
import { fstatfs, write } from "../platform/libc.ts";
import { systemClock } from "../platform/clock.ts";
import { keepCompiled, reportLine, scriptConfig } from "../platform/processes.ts";
import { processorCount, startThread } from "../platform/threads.ts";
import {
  type EngineConfig,
  type EngineMount,
  type EngineOrder,
  nodesPath,
} from "./engine-config.ts";
import {
  allocateShared,
  type EngineShared,
  type WorkerData,
  type WorkerMessage,
} from "./engine-shared.ts";
import { Gate, raiseGate, setMappings } from "./engine-shared.ts";
import { Intents } from "./intents.ts";
import { NodeTable } from "./node-table.ts";
import { servingMax, WorkerPool } from "./worker-pool.ts";

const STDOUT = 1;
const CATCH_UP_MS = 500;
/** Between two looks after the workers: while all that serve a mount are busy, and else. */
const RELIEVE_MS_WHEN_BUSY = 10;
const RELIEVE_MS = 40;
const SETTLE_LOOK_MS = 10;
const EXIT_WAIT_MS = 5000;

class Engine {
  readonly #config: EngineConfig;
  readonly #shared = new Map<number, EngineShared>();
  readonly #servingMax: number;
  readonly #pools: WorkerPool[];
  readonly #toStart: (() => void)[] = [];
  /** Indexes of mounts whose connections are gone. */
  readonly #ended = new Set<number>();
  #owed: OwedTimes | undefined;

  constructor(config: EngineConfig) {
    this.#config = config;
    this.#servingMax = config.serving ?? servingMax(processorCount());
    const { mounts } = config;
    for (const { index } of mounts) this.#shared.set(index, allocateShared(mounts.length));
    this.#pools = [...this.#shared.values()].map(({ pool }) => {
      return new WorkerPool(pool, this.#servingMax);
    });
    this.#startWorkers();
  }

  /** Takes over from the engine before this one, if there was one, and lets the workers serve. */
  serve(order: EngineOrder): void {
    const ring = Ring.open(`${this.#config.shmDir}/ring`);
    const holes = ring.voidHoles();
    const intents = new Intents(ring, 0, 0);
    intents.collectDoubts();
    this.#owed = new OwedTimes(ring);
    this.#owed.takeOver();
    ring.addWord(HeaderAt.engineGeneration, 1);
    ring.setWord(HeaderAt.enginePid, process.pid);
    for (const mount of this.#config.mounts) {
      const isKnown = order.adopted && existsSync(this.#nodesPath(mount));
      if (!isKnown) intents.forget(mount.index);
      const nodes = this.#prepareNodes(mount, isKnown);
      const mappings = { ring: ring.memory.mapping, nodes: nodes.mapping };
      setMappings(this.#sharedOf(mount).mappings, mappings);
      if (order.adopted) askToSendAgain(mount.fuseFd);
      this.#openGates(mount, order.adopted);
    }
    void this.#relieve();
    reportLine(STDOUT, { event: "serving", pid: process.pid, holes });
    keepCompiled();
  }

  #nodesPath(mount: EngineMount): string {
    return nodesPath(this.#config.shmDir, mount.index);
  }

  #prepareNodes(mount: EngineMount, isKnown: boolean): NodeTable {
    const path = this.#nodesPath(mount);
    const { nodeLocks } = this.#sharedOf(mount);
    if (isKnown) return NodeTable.open(path, nodeLocks);
    return NodeTable.create(path, inodesInUse(mount.rootFd), nodeLocks);
  }

  /**
   * On a connection of an earlier engine the first worker opens the gate for the others; when
   * nothing was in flight, no request tells it to. On a new one nothing can be sent again.
   */
  #openGates(mount: EngineMount, isAdopted: boolean): void {
    const gate = new Int32Array(this.#sharedOf(mount).gate);
    raiseGate(gate, isAdopted ? Gate.first : Gate.open);
    if (isAdopted) void systemClock.sleep(CATCH_UP_MS).then(() => raiseGate(gate, Gate.open));
  }

  /** Workers that are stuck in something that was not known to be slow get help. */
  async #relieve(): Promise<never> {
    for (;;) {
      const isBusy = this.#pools.map((pool) => pool.relieve()).includes(true);
      await systemClock.sleep(isBusy ? RELIEVE_MS_WHEN_BUSY : RELIEVE_MS);
    }
  }

  #sharedOf(mount: EngineMount): EngineShared {
    const shared = this.#shared.get(mount.index);
    if (shared === undefined) throw new Error(`mount ${mount.index} is not known`);
    return shared;
  }

  /**
   * One after another, those first that serve first: an engine that is needed while it loads should
   * not have its threads compete for the processors.
   */
  #startWorkers(): void {
    const { mounts, workers } = this.#config;
    const perMount = Math.max(1, Math.floor(workers / mounts.length));
    for (let i = 0; i < perMount; i++) {
      mounts.forEach((mount, position) => {
        const arena = position * perMount + i;
        const data = this.#dataOf(mount, arena, i === 0);
        this.#toStart.push(() => this.#startThread("./engine-worker.ts", data, mount));
      });
    }
    // Behind those that must serve at once: a first copy waits for it. Its arena is the last one.
    const parts = mounts.map((mount) => this.#dataOf(mount, workers, false));
    this.#toStart.splice(mounts.length, 0, () => this.#startThread("./mirror-worker.ts", parts));
    this.#startNext();
  }

  #startNext(): void {
    this.#toStart.shift()?.();
  }

  #dataOf(mount: EngineMount, arena: number, isFirst: boolean): WorkerData {
    return {
      mount,
      shared: this.#sharedOf(mount),
      arena,
      servingMax: this.#servingMax,
      isFirst,
      recordCopies: this.#config.recordCopies ?? true,
    };
  }

  /** `mount`: whose requests it serves, if it serves any. */
  #startThread(
    script: string,
    data: WorkerData | readonly WorkerData[],
    mount?: EngineMount,
  ): void {
    const worker = startThread({ base: import.meta.url, script, data, heapMebibytesMax: 64 });
    worker.on("message", (message: WorkerMessage) => this.#onMessage(message, mount));
    // A thread that dies of an error leaves locks behind: the whole engine goes, and the next one
    // starts clean.
    worker.on("error", (error) => {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      process.stderr.write(`engine: ${text}\n`);
      // Not process.exit(): it waits for the other threads, which wait for the kernel.
      process.kill(process.pid, "SIGTERM");
    });
  }

  /** The users of the other mounts of the job keep theirs. */
  #onConnectionEnd(mount: EngineMount, errno: number): void {
    this.#ended.add(mount.index);
    if (errno === ENODEV && this.#ended.size < this.#shared.size) return;
    void this.#exit(errno);
  }

  /**
   * The connections are gone: workers that are parked are not told, those that have a request in
   * hand finish it, and the mirror thread settles what is owed.
   */
  async #exit(errno: number): Promise<never> {
    for (let waitedMs = 0; waitedMs < EXIT_WAIT_MS; waitedMs += SETTLE_LOOK_MS) {
      const isSettled = this.#owed?.isEmpty ?? true;
      if (isSettled && this.#pools.every((pool) => pool.isIdle)) break;
      await systemClock.sleep(SETTLE_LOOK_MS);
    }
    process.exit(errno === ENODEV ? 0 : 1);
  }

  #onMessage(message: WorkerMessage, mount?: EngineMount): void {
    switch (message.kind) {
      case "ready":
        this.#startNext();
        return;
      case "bug":
        process.stderr.write(`engine: bug: ${message.message}\n`);
        return;
      case "ended":
        if (mount !== undefined) this.#onConnectionEnd(mount, message.errno);
    }
  }
}

/**
 * `struct statfs` of x86-64: u64 files at 40, u64 ffree at 48. File systems without a table of
 * inodes say 0.
 */
function inodesInUse(fd: number): number {
  const status = Buffer.alloc(120);
  if (fstatfs(fd, status) < 0) return 0;
  return Number(status.readBigUInt64LE(40) - status.readBigUInt64LE(48));
}

/**
 * Asks the kernel to send again every request that was read and not answered; before linux 6.9 it
 * refuses.
 */
function askToSendAgain(fuseFd: number): void {
  const message = Buffer.alloc(16);
  message.writeUInt32LE(message.length, 0);
  message.writeInt32LE(NOTIFY_RESEND, 4);
  write(fuseFd, message, message.length);
}

/**
 * The line on stdin by which the keeper says that it is our turn, or undefined: the keeper is gone.
 */
async function readOrder(): Promise<EngineOrder | undefined> {
  let text = "";
  for await (const chunk of process.stdin) {
    text += String(chunk);
    const end = text.indexOf("\n");
    if (end >= 0) return JSON.parse(text.slice(0, end)) as EngineOrder;
  }
  return undefined;
}

const engine = new Engine(scriptConfig<EngineConfig>());
const order = await readOrder();
if (order === undefined) process.exit(0);
engine.serve(order);
