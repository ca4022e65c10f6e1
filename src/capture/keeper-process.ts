/**
 * The keeper: holds the FUSE connections of a job so that they outlive the engine that serves them,
 * and starts another engine when one dies. The mount is lost only when keeper and engine die
 * together.
 *
 * It is kept small because nothing replaces it faster than the agent can: it parses nothing,
 * allocates nothing per request, and does not fail when its reports cannot be written.
 */

import { abortFuseConnection, mountedDevice } from "../fuse/mount.ts";
import { systemClock as clock } from "../platform/clock.ts";
import { existsSync, removeTree } from "../platform/files.ts";
import {
  type ChildProcess,
  identify,
  keepCompiled,
  reportLine,
  scriptConfig,
  spareFromOutOfMemoryKiller,
  startScript,
} from "../platform/processes.ts";
import { unmount } from "../platform/unmount.ts";
import { AdoptError, adoptAll, type Connection, mountAll } from "./connections.ts";
import { type EngineConfig, engineDescriptors } from "./engine-config.ts";
import { EngineRestarts } from "./engine-restarts.ts";
import {
  type KeeperConfig,
  type KeeperEvent,
  KeeperExit,
  REMOVE_WHEN_DONE,
} from "./keeper-config.ts";

const BUSY_TIMEOUT_MS = 5000;
const BUSY_RETRY_MS = 100;
const STDOUT = 1;

function report(event: KeeperEvent): void {
  reportLine(STDOUT, event);
}

class Keeper {
  readonly #config: KeeperConfig;
  readonly #restarts = new EngineRestarts();
  #connections: readonly Connection[] = [];
  #isStopping = false;

  constructor(config: KeeperConfig) {
    this.#config = config;
  }

  /** Mounts or adopts, and starts the first engine. */
  async start(): Promise<void> {
    const { adopt, mounts } = this.#config;
    if (adopt === null) {
      this.#connections = mountAll(mounts);
      for (const { path } of mounts) report({ event: "mounted", path });
    } else {
      this.#connections = await adoptAll(mounts, adopt);
      report({ event: "adopted", pid: adopt.pid });
    }
    this.#startEngine(adopt !== null);
    if (this.#isStopping) await this.#unmountEach();
  }

  #startEngine(adopted: boolean): void {
    const config: EngineConfig = {
      shmDir: this.#config.shmDir,
      mounts: this.#config.mounts.map(({ index, path }, position) => {
        return { index, path, ...engineDescriptors(position) };
      }),
      workers: this.#config.workers,
      recordCopies: this.#config.recordCopies,
      adopted,
    };
    const descriptors = this.#connections.flatMap(({ fuseFd, rootFd }) => [fuseFd, rootFd]);
    const startedAtMs = clock.monotonicMs();
    const engine = startScript({
      base: import.meta.url,
      script: "./engine-process.ts",
      config,
      stdio: ["ignore", "inherit", "inherit", ...descriptors],
      detached: false,
    });
    const started = identify(engine.pid ?? 0);
    if (started !== undefined) report({ event: "engine-started", ...started });
    const died = (code: number | null, signal: string | null): void => {
      void this.#onEngineEnd({ engine, code, signal, livedMs: clock.monotonicMs() - startedAtMs });
    };
    engine.once("exit", died);
    // Not even started: out of memory or processes. Counts as a death at birth.
    engine.once("error", (error) => {
      report({ event: "failed", message: `start the engine: ${error.message}` });
      if (engine.pid === undefined) died(null, null);
    });
  }

  async #onEngineEnd(end: {
    engine: ChildProcess;
    code: number | null;
    signal: string | null;
    livedMs: number;
  }): Promise<void> {
    if (end.code === 0) this.#exitUnmounted();
    const livedMs = Math.round(end.livedMs);
    const { code, signal } = end;
    report({ event: "engine-died", pid: end.engine.pid ?? 0, code, signal, livedMs });
    const pauseMs = this.#restarts.afterDeath(livedMs);
    if (pauseMs === undefined) return this.#giveUp();
    if (pauseMs > 0) await clock.sleep(pauseMs);
    this.#startEngine(true);
  }

  /** The engine ends with 0 when its connections are gone. */
  #exitUnmounted(): never {
    report({ event: "unmounted", asked: this.#isStopping });
    const { shmDir } = this.#config;
    if (existsSync(`${shmDir}/${REMOVE_WHEN_DONE}`)) removeTree(shmDir);
    process.exit(this.#isStopping ? KeeperExit.unmounted : KeeperExit.lost);
  }

  /**
   * An engine that cannot live leaves every user of the folder hanging: better an error and the
   * bare folder.
   */
  async #giveUp(): Promise<void> {
    report({ event: "gave-up", deaths: this.#restarts.deathsInARow });
    for (const { path } of this.#config.mounts) {
      const device = mountedDevice(path);
      if (device !== undefined) abortFuseConnection(device.minor);
      await unmount(path, { lazy: true });
    }
    process.exit(KeeperExit.gaveUp);
  }

  /**
   * Takes the mounts away; the engine then ends by itself, when the last user of an open file is
   * gone.
   */
  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    // Not mounted yet: start() sees the flag when it is done.
    if (this.#connections.length > 0) await this.#unmountEach();
  }

  async #unmountEach(): Promise<void> {
    // Those mounted last may lie below those mounted first.
    for (const { path } of this.#config.mounts.toReversed()) await this.#unmountOne(path);
  }

  async #unmountOne(path: string): Promise<void> {
    const deadline = clock.monotonicMs() + BUSY_TIMEOUT_MS;
    let isReported = false;
    while (mountedDevice(path) !== undefined) {
      if (await unmount(path, { lazy: false })) return;
      if (clock.monotonicMs() > deadline) break;
      if (!isReported) report({ event: "busy", path });
      isReported = true;
      await clock.sleep(BUSY_RETRY_MS);
    }
    if (await unmount(path, { lazy: true })) report({ event: "detached", path });
  }
}

function exitFailed(error: unknown): never {
  const { message, hint } = error as Error & { hint?: string };
  report({ event: "failed", message, ...(hint === undefined ? {} : { hint }) });
  process.exit(error instanceof AdoptError ? KeeperExit.lost : KeeperExit.failed);
}

async function main(): Promise<void> {
  spareFromOutOfMemoryKiller();
  const keeper = new Keeper(scriptConfig<KeeperConfig>());
  report({
    event: "keeper-started",
    ...(identify(process.pid) ?? { pid: process.pid, startTicks: 0 }),
  });
  process.on("SIGTERM", () => void keeper.stop());
  process.on("SIGINT", () => void keeper.stop());
  process.on("SIGHUP", () => {}); // a terminal that is gone is no reason to unmount
  try {
    await keeper.start();
    keepCompiled();
  } catch (error) {
    exitFailed(error);
  }
}

await main();
