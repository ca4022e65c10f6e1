/**
 * The agent's hold on the keeper: starts it, follows what it reports, and tells it to unmount.
 * Keeper and engine report to a file and not to a pipe, so that they do not depend on an agent
 * being there to read.
 */
import type { KeeperConfig, KeeperEvent } from "../capture/keeper-config.ts";
import type { Clock } from "../platform/clock.ts";
import { closeSync, emptyFile, openForAppend, readFrom, sizeOf } from "../platform/files.ts";
import { JsonLineParser } from "../platform/json-lines.ts";
import {
  type ChildProcess,
  LivenessWatch,
  reportLine,
  sendSignal,
  startScript,
} from "../platform/processes.ts";
import {
  foldKeeperEvent,
  judgeKeeper,
  type KeeperState,
  type KeeperVerdict,
  NO_KEEPER,
} from "./keeper-state.ts";
import type { StateDirectory } from "./state-directory.ts";

const READ_BYTES_MAX = 1 << 18;

export interface LivingPids {
  readonly keeper: number | null;
  readonly engine: number | null;
}

export class KeeperLink {
  readonly #state: StateDirectory;
  readonly #parser = new JsonLineParser((value) => this.#onEvent(value as unknown as KeeperEvent));
  readonly #listener: (event: KeeperEvent) => void;
  readonly #keeperWatch: LivenessWatch;
  readonly #engineWatch: LivenessWatch;
  #known: KeeperState = NO_KEEPER;
  #position = 0;
  /** Between start and the keeper's first report nothing is known of it but this. */
  #starting: ChildProcess | undefined;

  constructor(state: StateDirectory, clock: Clock, listener: (event: KeeperEvent) => void) {
    this.#state = state;
    this.#listener = listener;
    this.#keeperWatch = new LivenessWatch(clock);
    this.#engineWatch = new LivenessWatch(clock);
  }

  get known(): KeeperState {
    return this.#known;
  }

  /** Starts a keeper; its reports come with {@link poll}. */
  start(config: KeeperConfig): void {
    const { keeperEvents, keeperLog } = this.#state;
    const stdout = openForAppend(keeperEvents);
    const stderr = openForAppend(keeperLog);
    const child = startScript({
      base: import.meta.url,
      script: "../capture/keeper-process.ts",
      config,
      stdio: ["ignore", stdout, stderr],
      detached: true,
    });
    this.#starting = child;
    child.unref();
    // The exit of the keeper before it may be told only now.
    const isOver = () => {
      if (this.#starting === child) this.#starting = undefined;
    };
    child.once("exit", isOver);
    child.once("error", (error) => {
      isOver();
      this.#onEvent({ event: "failed", message: `start the keeper: ${error.message}` });
    });
    closeSync(stdout);
    closeSync(stderr);
  }

  /** Reads what was reported since the last call. */
  poll(): void {
    const { keeperEvents } = this.#state;
    while ((sizeOf(keeperEvents) ?? 0) > this.#position) {
      const chunk = readFrom(keeperEvents, this.#position, READ_BYTES_MAX);
      if (chunk.length === 0) return;
      this.#position += chunk.length;
      this.#parser.push(chunk);
    }
  }

  /** Forgets the reports of instances that are over. */
  forget(): void {
    emptyFile(this.#state.keeperEvents);
    this.#position = 0;
    this.#known = NO_KEEPER;
  }

  /** Adds what the agent found out itself to the reports, where the next agent reads it too. */
  note(event: KeeperEvent): void {
    const fd = openForAppend(this.#state.keeperEvents);
    reportLine(fd, event);
    closeSync(fd);
    this.poll();
  }

  verdict(): KeeperVerdict {
    if (this.#starting !== undefined) return "alive";
    const { keeper, engine } = this.livingPids;
    return judgeKeeper(this.#known, { keeper: keeper !== null, engine: engine !== null });
  }

  /** Null: not running, as far as is known. */
  get livingPids(): LivingPids {
    const { keeper, engine } = this.#known;
    const isKeeperAlive = keeper !== undefined && this.#keeperWatch.isAlive(keeper);
    const isEngineAlive = engine !== undefined && this.#engineWatch.isAlive(engine);
    return {
      keeper: isKeeperAlive ? keeper.pid : null,
      engine: isEngineAlive ? engine.pid : null,
    };
  }

  /** Tells the keeper to unmount. False when there is none to be told. */
  unmount(): boolean {
    const { keeper } = this.#known;
    return keeper !== undefined && sendSignal(keeper, "SIGTERM");
  }

  #onEvent(event: KeeperEvent): void {
    if (event.event === "keeper-started") this.#starting = undefined;
    this.#known = foldKeeperEvent(this.#known, event);
    this.#listener(event);
  }
}
