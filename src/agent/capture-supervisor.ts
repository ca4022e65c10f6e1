/**
 * Keeps the folder mounted and served: starts the keeper, replaces one that was killed, mounts
 * again when the connection itself was lost. Applications notice nothing as long as keeper or
 * engine lives.
 */
import { StandinError } from "../base/errors.ts";
import type { KeeperConfig, KeeperEvent } from "../capture/keeper-config.ts";
import type { Clock } from "../platform/clock.ts";
import { hasCode, spaceOf } from "../platform/files.ts";
import { readMountTable } from "../platform/mount-table.ts";
import { unmount } from "../platform/unmount.ts";
import { KeeperLink, type LivingPids } from "./keeper-link.ts";
import type { KeeperState, KeeperVerdict } from "./keeper-state.ts";
import type { StateDirectory } from "./state-directory.ts";

/** How soon a dead keeper is noticed. The engine goes on serving meanwhile. */
const POLL_MS = 50;
const START_POLL_MS = 10;
const SERVING_TIMEOUT_MS = 30_000;
const REMOUNT_PAUSE_MS_MAX = 10_000;

const MOUNT_TYPE = "fuse.standin";

/** How a start found the folder. */
export type CaptureStart =
  /** Keeper and engine of an earlier agent went on; nothing was missed. */
  | "kept"
  /** Freshly mounted; changes before it were not captured. */
  | "mounted";

export class CaptureSupervisor {
  readonly #clock: Clock;
  readonly #link: KeeperLink;
  readonly #config: Omit<KeeperConfig, "adopt">;
  readonly #state: StateDirectory;
  readonly #onLost: () => void;
  #isBroken = false;
  #remounts = 0;

  constructor(options: {
    readonly clock: Clock;
    readonly state: StateDirectory;
    readonly config: Omit<KeeperConfig, "adopt">;
    readonly onEvent: (event: KeeperEvent) => void;
    /** The connection was lost: from now on changes are missed until it is mounted again. */
    readonly onLost: () => void;
  }) {
    this.#clock = options.clock;
    this.#config = options.config;
    this.#state = options.state;
    this.#onLost = options.onLost;
    this.#link = new KeeperLink(options.state, options.clock, options.onEvent);
  }

  get known(): KeeperState {
    return this.#link.known;
  }

  get livingPids(): LivingPids {
    return this.#link.livingPids;
  }

  /** What the keeper says, and what the mount table says: others may unmount. */
  get isMounted(): boolean {
    return this.unmountedPaths().length === 0;
  }

  /** Of the paths, those that are not mounted. */
  unmountedPaths(): string[] {
    const { isMounted, end } = this.known;
    const paths = this.#config.mounts.map(({ path }) => path);
    if (!isMounted || end?.kind === "unmounted") return paths;
    const table = readMountTable();
    return paths.filter((path) => !isStandinMount(path, table));
  }

  /** The engine died again and again; the folder is left unmounted. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** What earlier processes of this instance left. Call before {@link start}. */
  assess(): KeeperVerdict {
    this.#link.poll();
    return this.#link.verdict();
  }

  /** @throws {StandinError} when the folder cannot be mounted. */
  async start(signal: AbortSignal): Promise<CaptureStart> {
    const verdict = this.assess();
    const isKept = verdict === "alive" || verdict === "adopt";
    if (verdict === "adopt") this.#startAdopting();
    if (!isKept) {
      await this.clearDeadMounts();
      this.#link.forget();
      this.#link.start({ ...this.#config, adopt: null });
    }
    await this.#waitUntilServing(signal);
    return isKept ? "kept" : "mounted";
  }

  #startAdopting(): void {
    this.#link.start({ ...this.#config, adopt: this.known.engine ?? null });
  }

  async #waitUntilServing(signal: AbortSignal): Promise<void> {
    const deadline = this.#clock.monotonicMs() + SERVING_TIMEOUT_MS;
    for (;;) {
      this.#link.poll();
      const { end, isServing } = this.known;
      if (isServing || signal.aborted) return;
      if (end?.kind === "failed") throw mountFailed(end.message, end.hint);
      if (end !== undefined || this.#clock.monotonicMs() > deadline) throw this.#engineFailed();
      await this.#clock.sleep(START_POLL_MS, signal);
    }
  }

  #engineFailed(): StandinError {
    return new StandinError("ENGINE_FAILED", "the capture engine does not start", {
      hint: `Its messages are in ${this.#state.keeperLog}.`,
    });
  }

  /** Watches until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#link.poll();
      await this.#act(this.#link.verdict(), signal);
      await this.#clock.sleep(POLL_MS, signal);
    }
  }

  async #act(verdict: KeeperVerdict, signal: AbortSignal): Promise<void> {
    if (this.#isBroken) return;
    if (verdict === "adopt") this.#startAdopting();
    if (verdict === "remount") await this.#remount(signal);
    if (verdict === "broken") {
      this.#isBroken = true;
      this.#onLost();
    }
    if (this.known.isServing) this.#remounts = 0;
  }

  async #remount(signal: AbortSignal): Promise<void> {
    this.#link.note({ event: "unmounted", asked: false });
    this.#onLost();
    // At once the first time: each moment unmounted is a moment of changes that are not captured.
    const pauseMs = Math.min(this.#remounts ** 2 * 250, REMOUNT_PAUSE_MS_MAX);
    this.#remounts += 1;
    await this.#clock.sleep(pauseMs, signal);
    if (signal.aborted) return;
    await this.clearDeadMounts();
    this.#link.start({ ...this.#config, adopt: null });
  }

  /** Takes away mounts whose connection is dead: their folder answers every call with an error. */
  async clearDeadMounts(): Promise<void> {
    for (const { path } of this.#config.mounts) await clearDeadMount(path);
  }

  /**
   * The kernel's number of our mount, by which its users are known; it outlives the mount table's
   * entry.
   */
  mountId(): number | undefined {
    const paths = new Set(this.#config.mounts.map(({ path }) => path));
    return readMountTable().findLast(({ path, type }) => paths.has(path) && type === MOUNT_TYPE)
      ?.id;
  }

  /** Unmounts and follows it until the folder is free, or detached with files still open. */
  async unmount(onBusy: () => void): Promise<void> {
    this.#link.poll();
    if (!this.#link.unmount()) return this.#unmountWithoutKeeper();
    let isBusyReported = false;
    for (;;) {
      this.#link.poll();
      const { busyPath, isDetached } = this.known;
      const verdict = this.#link.verdict();
      if (verdict === "unmounted") return;
      if (verdict !== "alive") return this.#unmountWithoutKeeper();
      if (busyPath !== undefined && !isBusyReported) {
        isBusyReported = true;
        onBusy();
      }
      if (isDetached) return;
      await this.#clock.sleep(START_POLL_MS);
    }
  }

  /** The engine ends by itself when the mount is gone. */
  async #unmountWithoutKeeper(): Promise<void> {
    for (const { path } of this.#config.mounts) {
      if (isStandinMount(path)) await unmount(path, { lazy: true });
    }
  }
}

function mountFailed(message: string, hint: string | undefined): StandinError {
  return new StandinError("MOUNT_FAILED", message, hint === undefined ? {} : { hint });
}

export function isStandinMount(path: string, table = readMountTable()): boolean {
  return table.findLast((entry) => entry.path === path)?.type === MOUNT_TYPE;
}

/** Bounded: each round takes one mount of a stack away. */
const STACKED_MOUNTS_MAX = 8;

/** Takes our mounts at `path` away, if nobody serves them any more. */
export async function clearDeadMount(path: string): Promise<void> {
  for (let round = 0; round < STACKED_MOUNTS_MAX && isStandinMount(path); round++) {
    if (!isDead(path)) return;
    await unmount(path, { lazy: true });
  }
}

function isDead(path: string): boolean {
  try {
    // Asks the server; attributes would be answered from the kernel's cache even now.
    spaceOf(path);
    return false;
  } catch (error) {
    return hasCode(error, "ENOTCONN") || hasCode(error, "ECONNABORTED") || hasCode(error, "EIO");
  }
}
