/**
 * The keeper: holds the FUSE connections of a job so that they outlive the engine that serves them,
 * and starts another engine when one dies. The mount is lost only when keeper and engine die
 * together.
 *
 * It is kept small because nothing replaces it faster than the agent can: it parses nothing,
 * allocates nothing per request, and does not fail when its reports cannot be written.
 */

import { canResend } from "../fuse/kernel.ts";
import { abortFuseConnection, mountedDevice } from "../fuse/mount.ts";
import { systemClock as clock } from "../platform/clock.ts";
import { existsSync, removeTree } from "../platform/files.ts";
import { kernelRelease } from "../platform/machine.ts";
import {
  identify,
  keepCompiled,
  reportLine,
  scriptConfig,
  spareFromOutOfMemoryKiller,
} from "../platform/processes.ts";
import { unmount } from "../platform/unmount.ts";
import {
  AdoptError,
  closeEnded,
  type Connection,
  endEngine,
  mountAgain,
  mountAll,
  mountOne,
  takeAll,
} from "./connections.ts";
import { type EngineConfig, engineDescriptors, nodesPath } from "./engine-config.ts";
import { type EngineEnd, EnginePair } from "./engine-pair.ts";
import { EngineRestarts } from "./engine-restarts.ts";
import {
  type KeeperConfig,
  type KeeperEvent,
  KeeperExit,
  REMOVE_WHEN_DONE,
} from "./keeper-config.ts";

/** About what an engine takes to load; being late costs a pause, being early does too. */
const ADOPT_DELAY_MS = 1500;
const BUSY_TIMEOUT_MS = 5000;
const BUSY_RETRY_MS = 100;
/** How long somebody else's unmount goes unnoticed. */
const WATCH_MS = 500;
const ENGINE_END_MS = 10_000;
const STDOUT = 1;

function report(event: KeeperEvent): void {
  reportLine(STDOUT, event);
}

class Keeper {
  readonly #config: KeeperConfig;
  readonly #restarts = new EngineRestarts();
  #connections: readonly Connection[] = [];
  #pair: EnginePair | undefined;
  #isStopping = false;
  /** The mounts were given up. */
  #isGone = false;
  #isUnmounted = false;
  #renewing: Promise<void> = Promise.resolve();
  #problem = "";

  constructor(config: KeeperConfig) {
    this.#config = config;
  }

  /** Mounts or adopts, and starts the first engine. */
  async start(): Promise<void> {
    const { adopt, mounts } = this.#config;
    if (adopt === null) {
      this.#connections = mountAll(mounts);
      for (const { path } of mounts) report({ event: "mounted", path });
    } else this.#connections = takeAll(mounts, adopt);
    const pair = this.#engines();
    this.#pair = pair;
    if (adopt !== null) {
      // The old engine serves until the new one is up.
      pair.prepare();
      await clock.sleep(ADOPT_DELAY_MS);
      await endEngine(adopt, clock);
      report({ event: "adopted", pid: adopt.pid });
    }
    pair.serve({ adopted: adopt !== null });
    void this.#watchMounts();
    if (this.#isStopping) await this.#unmountEach();
  }

  #engines(): EnginePair {
    const config: EngineConfig = {
      shmDir: this.#config.shmDir,
      mounts: this.#config.mounts.map(({ index, path }, position) => {
        return { index, path, ...engineDescriptors(position) };
      }),
      workers: this.#config.workers,
      recordCopies: this.#config.recordCopies,
    };
    return new EnginePair({
      config,
      descriptors: this.#connections.flatMap(({ fuseFd, rootFd }) => [fuseFd, rootFd]),
      onServing: (engine) => report({ event: "engine-started", ...engine }),
      onEnd: (end) => void this.#onEngineEnd(end),
      onFailedStart: (message) =>
        report({ event: "failed", message: `start the engine: ${message}` }),
    });
  }

  async #onEngineEnd(end: EngineEnd): Promise<void> {
    if (end.code === 0 || this.#isUnmounted) this.#exitUnmounted();
    report({ event: "engine-died", ...end });
    if (!canResend(kernelRelease())) return this.#lose();
    const pauseMs = this.#restarts.afterDeath(end.livedMs, end.signal !== "SIGKILL");
    if (pauseMs === undefined) return this.#giveUp();
    if (pauseMs > 0) await clock.sleep(pauseMs);
    this.#pair?.serve({ adopted: true });
  }

  /**
   * Somebody who unmounts lazily leaves the connection to those who have files open, and everybody
   * else with the bare folder.
   */
  async #watchMounts(): Promise<void> {
    while (!this.#isStopping && !this.#isGone) {
      for (const connection of this.#connections) {
        const found = mountAgain(connection);
        if (found === "remounted") report({ event: "remounted", path: connection.mount.path });
        if (found === "ended") this.#renewing = this.#renew(connection);
        await this.#renewing;
      }
      await clock.sleep(WATCH_MS);
    }
  }

  /**
   * Somebody unmounted one folder of several, which nobody used: it gets a new connection, and the
   * users of the others notice nothing but a change of engines.
   */
  async #renew(ended: Connection): Promise<void> {
    // That of the last one ends the engine and us, and the agent mounts anew.
    if (this.#connections.length === 1) return;
    let renewed: Connection;
    try {
      renewed = mountOne(ended.mount);
    } catch (error) {
      this.#noteProblem(`mount anew: ${(error as Error).message}`);
      return;
    }
    this.#connections = this.#connections.map((each) => (each === ended ? renewed : each));
    report({ event: "remounted", path: ended.mount.path });
    const before = this.#pair;
    const pair = this.#engines();
    pair.prepare();
    await clock.sleep(ADOPT_DELAY_MS);
    await before?.retire();
    closeEnded(ended);
    removeTree(nodesPath(this.#config.shmDir, ended.mount.index));
    this.#pair = pair;
    pair.serve({ adopted: true });
  }

  /** Of something that is tried again and again: said once. */
  #noteProblem(problem: string): void {
    if (problem !== this.#problem) process.stderr.write(`keeper: ${problem}\n`);
    this.#problem = problem;
  }

  /** The engine ends with 0 when its connections are gone. */
  #exitUnmounted(): never {
    this.#pair?.stop();
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
    await this.#abortEach();
    process.exit(KeeperExit.gaveUp);
  }

  /**
   * This kernel does not repeat what the dead engine was asked: those who wait get an error now,
   * instead of waiting for ever, and the agent mounts again.
   */
  async #lose(): Promise<never> {
    await this.#abortEach();
    return this.#exitUnmounted();
  }

  async #abortEach(): Promise<void> {
    this.#isGone = true;
    for (const { path } of this.#config.mounts) {
      const device = mountedDevice(path);
      if (device !== undefined) tryAbort(device.minor);
      await unmount(path, { lazy: true });
    }
  }

  /**
   * Takes the mounts away; the engine then ends by itself, when the last user of an open file is
   * gone.
   */
  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    await this.#renewing;
    // Not mounted yet: start() sees the flag when it is done.
    if (this.#connections.length > 0) await this.#unmountEach();
  }

  async #unmountEach(): Promise<void> {
    const gone = await Promise.all(
      this.#config.mounts.map(async ({ path }) => ({ path, isGone: await this.#unmountOne(path) })),
    );
    const detached = gone.filter(({ isGone }) => !isGone);
    // Only now: who waits for us goes on when it hears of the first.
    for (const { path } of detached) report({ event: "detached", path });
    this.#isUnmounted = detached.length === 0;
    if (!this.#isUnmounted) return;
    // Nobody uses the connections any more; an engine that does not see it is stuck.
    await clock.sleep(ENGINE_END_MS);
    this.#pair?.kill();
  }

  /** False when somebody still uses the mount, which is then only out of sight. */
  async #unmountOne(path: string): Promise<boolean> {
    const deadline = clock.monotonicMs() + BUSY_TIMEOUT_MS;
    let isReported = false;
    while (mountedDevice(path) !== undefined) {
      if (await unmount(path, { lazy: false })) return true;
      if (clock.monotonicMs() > deadline) break;
      if (!isReported) report({ event: "busy", path });
      isReported = true;
      await clock.sleep(BUSY_RETRY_MS);
    }
    if (mountedDevice(path) === undefined) return true;
    return !(await unmount(path, { lazy: true }));
  }
}

/** In a container /sys may be read-only; then the connection ends with our process. */
function tryAbort(minor: number): void {
  try {
    abortFuseConnection(minor);
  } catch (error) {
    process.stderr.write(`keeper: abort connection ${minor}: ${(error as Error).message}\n`);
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
