/**
 * One running `standin local`: an agent with both ends on one machine. Composition only; each
 * concern is a class of its own: capture (keeper and engine), applier, copy (mirror, resync,
 * verify), status, control socket.
 */
import { StandinError } from "../base/errors.ts";
import type { KeeperEvent } from "../capture/keeper-config.ts";
import { REMOVE_WHEN_DONE } from "../capture/keeper-config.ts";
import type { Ring } from "../journal/ring.ts";
import type { Clock } from "../platform/clock.ts";
import { removeEmptyFolder, removeTree, writeSmallFile } from "../platform/files.ts";
import { usersOfMount } from "../platform/open-files.ts";
import { identify, isAlive, type ProcessIdentity, sendSignal } from "../platform/processes.ts";
import type { Finding } from "../preflight/check.ts";
import { machineSurroundings } from "../preflight/machine-surroundings.ts";
import { preflight } from "../preflight/preflight.ts";
import { rulesOf } from "./applier-config.ts";
import { type ApplierEvent, ApplierLink } from "./applier-link.ts";
import { applierConfigOf } from "./applier-settings.ts";
import { CaptureSupervisor, clearDeadMount } from "./capture-supervisor.ts";
import type { ControlRequest } from "./control-protocol.ts";
import { ControlServer } from "./control-server.ts";
import { CopySupervisor } from "./copy-supervisor.ts";
import type { InstanceRecord } from "./instance-record.ts";
import { InstanceRegistry } from "./instance-registry.ts";
import type { InstanceStatus } from "./instance-status.ts";
import type { LocalEvent, LocalListener, LocalOptions } from "./local-options.ts";
import { claimPlaces, type LocalPlaces, mountPoint, openRing } from "./prepare-local.ts";
import { restrictionsOf } from "./mount-restrictions.ts";
import { RingGauge } from "./ring-gauge.ts";
import { timesSettled } from "./settled-times.ts";
import { StatusBoard } from "./status-board.ts";

export class LocalInstance {
  readonly #clock: Clock;
  readonly #options: LocalOptions;
  readonly #listener: LocalListener;
  readonly #places: LocalPlaces;
  readonly #registry = new InstanceRegistry();
  readonly #ring: Ring;
  readonly #gauge: RingGauge;
  readonly #capture: CaptureSupervisor;
  readonly #applier: ApplierLink;
  readonly #copy: CopySupervisor;
  readonly #board: StatusBoard;
  #record: InstanceRecord;
  readonly #isRingNew: boolean;
  #isAbandoned = false;
  #isStarted = false;

  /** @throws {StandinError} when the folders cannot be used. */
  static async prepare(
    options: LocalOptions,
    listener: LocalListener,
    clock: Clock,
  ): Promise<LocalInstance> {
    // A mount that all its processes died under answers nothing, not even what it is.
    await clearDeadMount(mountPoint(options.source));
    return new LocalInstance(options, listener, clock);
  }

  private constructor(options: LocalOptions, listener: LocalListener, clock: Clock) {
    this.#clock = clock;
    this.#options = options;
    checkRules(options);
    this.#listener = listener;
    this.#places = claimPlaces(options);
    const { state, isKnown } = this.#places;
    this.#record = this.#places.record;
    const { id, source, replica, shmDir, workers } = this.#record;
    const { ring, isNew } = openRing(this.#record, options.ringBytes, isKnown);
    this.#ring = ring;
    // What the applier knew of the copy was in that memory too.
    this.#isRingNew = isNew;
    if (isNew) this.#record = { ...this.#record, due: "mirror" };
    this.#gauge = new RingGauge(this.#ring);
    this.#capture = new CaptureSupervisor({
      clock,
      state,
      config: {
        shmDir,
        workers,
        mounts: [{ index: 0, path: source, ...restrictionsOf(source) }],
        recordCopies: options.include.length + options.exclude.length === 0,
      },
      onEvent: (event) => this.#onKeeperEvent(event),
      onLost: () => this.#onLost(),
    });
    this.#applier = new ApplierLink({
      clock,
      logFile: state.applierLog,
      config: applierConfigOf(this.#record, options),
      listener: (event) => this.#onApplierEvent(event),
    });
    this.#copy = new CopySupervisor({
      clock,
      applier: this.#applier,
      due: this.#record.due,
      isPaused: this.#record.isPaused,
      gaps: () => this.#gauge.sample().gaps,
      onDue: (due) => this.#save({ due }),
    });
    this.#board = new StatusBoard({
      clock,
      identity: { id, stateDirectory: state.path, source, replica },
      gauge: this.#gauge,
      capture: this.#capture,
      applier: this.#applier,
      copy: this.#copy,
      agentRestarts: 0,
    });
  }

  get stateDirectory(): string {
    return this.#places.state.path;
  }

  /** The folder is mounted; before that there is nothing to report. */
  get isStarted(): boolean {
    return this.#isStarted;
  }

  status(): InstanceStatus {
    return this.#board.status();
  }

  /**
   * Runs until `signal` is aborted, then drains: everything that was answered is applied, the
   * folder is free.
   */
  async run(signal: AbortSignal): Promise<void> {
    const running = new AbortController();
    const control = await this.#startOrUndo(signal);
    const loops = [
      this.#capture.run(running.signal),
      this.#board.run(running.signal),
      this.#copy.run(running.signal),
    ];
    try {
      await Promise.race([aborted(signal), ...loops]);
      await this.#drain(running);
    } finally {
      running.abort();
      await control.close();
      await Promise.allSettled(loops);
    }
  }

  /** A start that fails leaves nothing that was not there before. */
  async #startOrUndo(signal: AbortSignal): Promise<ControlServer> {
    const verdict = this.#capture.assess();
    const isKept = verdict === "alive" || verdict === "adopt";
    try {
      return await this.#start(isKept, signal);
    } catch (error) {
      if (!isKept) await this.#undoStart();
      throw error;
    }
  }

  async #undoStart(): Promise<void> {
    const { replica, shmDir, id, agent } = this.#record;
    if (this.#capture.known.isMounted) await this.#capture.unmount(() => {});
    await this.#applier.stop();
    if (this.#isRingNew) removeTree(shmDir);
    if (this.#places.hasMadeReplica) removeEmptyFolder(replica);
    if (agent !== null) {
      this.#registry.remove(id);
      this.#save({ agent: null });
    }
    this.#places.lock.release();
  }

  async #start(isKept: boolean, signal: AbortSignal): Promise<ControlServer> {
    await this.#endOldApplier();
    if (isKept) this.#announce();
    else await this.#passPreflight();
    // It loads while the folder is being mounted.
    this.#applier.start();
    if (this.#record.isPaused) this.#applier.setPaused(true);
    const start = await this.#capture.start(signal);
    if (start === "mounted") this.#copy.requireResync();
    const { source } = this.#record;
    this.#isStarted = true;
    this.#listener({ event: "mounted", source, adopted: start === "kept" });
    const { state } = this.#places;
    return ControlServer.listen(state.controlSocket, (request, progress, asker) =>
      this.#answer(request, progress, asker),
    );
  }

  /** @throws {StandinError} what speaks against mounting. Warnings go to the listener. */
  async #passPreflight(): Promise<void> {
    const { source, replica } = this.#record;
    const { allowOpenFiles } = this.#options;
    await this.#capture.clearDeadMounts();
    // Held until this instance is in the registry: two that start at one moment see each other.
    const lock = await this.#registry.lock(this.#clock);
    try {
      const others = this.#registry.othersThan(this.#record.id);
      const surroundings = machineSurroundings(others);
      const findings = preflight({ source, replica, allowOpenFiles }, surroundings);
      for (const finding of findings) this.#onFinding(finding);
      this.#announce();
    } finally {
      lock.release();
    }
  }

  #onFinding({ level, code, message, hint }: Finding): void {
    if (level === "error") throw new StandinError(code, message, { hint });
    if (code === "NESTED_MOUNT") this.#board.exclude({ code, message });
    this.#listener({ event: "warning", code, message: `${message}. ${hint}` });
  }

  /** The applier is safe to kill, and two must never read one ring. */
  async #endOldApplier(): Promise<void> {
    const { applier } = this.#record;
    if (applier === null) return;
    sendSignal(applier, "SIGKILL");
    while (isAlive(applier)) await this.#clock.sleep(5);
  }

  #announce(): void {
    const agent = identify(process.pid) ?? null;
    this.#save({ agent });
    if (agent === null) return;
    const { id, source, replica } = this.#record;
    this.#registry.add({ id, stateDirectory: this.#places.state.path, source, replica, agent });
  }

  #save(change: Partial<InstanceRecord>): void {
    this.#record = { ...this.#record, ...change };
    this.#places.state.saveRecord(this.#record);
  }

  #onKeeperEvent(event: KeeperEvent): void {
    if (event.event === "keeper-started") {
      this.#save({ keeper: processOf(event) });
      this.#onRestart("keeper");
    }
    if (event.event === "engine-started") this.#save({ engine: processOf(event) });
    if (event.event === "engine-died") this.#onRestart("engine");
    if (event.event === "remounted") this.#onLost();
  }

  /** Not of the first start, and not of what an earlier agent has seen. */
  #onRestart(role: "keeper" | "engine" | "applier"): void {
    if (this.#isStarted) this.#listener({ event: "restarted", role });
  }

  #onLost(): void {
    this.#copy.requireResync();
    this.#listener({
      event: "lost",
      message: "the mount was lost: changes are not captured until it is back, a resync follows",
    });
  }

  #onApplierEvent(event: ApplierEvent): void {
    this.#copy.observe(event);
    if (event.event === "applier-started") this.#save({ applier: this.#applier.process ?? null });
    if (event.event === "applier-died") this.#onRestart("applier");
    if (event.event === "mirrored") this.#listener({ ...event, event: "mirrored" });
    if (event.event === "verified" && this.#copy.work === "resync") {
      this.#listener({ ...event, event: "resynced" });
    }
    if (event.event === "resynced") this.#listener({ ...event, event: "resynced" });
    if (event.event === "notice") this.#listener(noticeOf(event));
  }

  async #answer(
    request: ControlRequest,
    progress: (value: unknown) => void,
    asker: AbortSignal,
  ): Promise<unknown> {
    switch (request.command) {
      case "status":
        return this.status();
      case "flush":
        return this.#flush(request.timeoutMs);
      case "verify":
        return this.#verify(request.repair, progress, asker);
      case "pause":
      case "resume":
        return this.#setPaused(request.command === "pause");
      default:
        throw new StandinError("BAD_REQUEST", "unknown command");
    }
  }

  async #flush(timeoutMs: number): Promise<{ lsn: number }> {
    await timesSettled(this.#ring, this.#clock, timeoutMs);
    const lsn = this.#ring.head;
    await this.#copy.flush(lsn, timeoutMs);
    return { lsn };
  }

  async #verify(
    repair: boolean,
    progress: (value: unknown) => void,
    asker: AbortSignal,
  ): Promise<unknown> {
    const done = new AbortController();
    const report = async () => {
      while (!done.signal.aborted) {
        progress(this.status().progress);
        await this.#clock.sleep(500, done.signal);
      }
    };
    const reporting = report();
    try {
      return await this.#copy.verify(repair, asker);
    } finally {
      done.abort();
      await reporting;
    }
  }

  #setPaused(isPaused: boolean): { paused: boolean } {
    this.#copy.setPaused(isPaused);
    this.#save({ isPaused });
    return { paused: isPaused };
  }

  /** What a drain waits for, in words; undefined when it waits for nothing. */
  waitingFor(): string {
    const status = this.status();
    const { isDetached, busyPath, end } = this.#capture.known;
    if (end === undefined && busyPath !== undefined && !isDetached) {
      return `processes that have files of ${status.source} open`;
    }
    const reasons = status.reasons.filter(({ code }) => code !== "STOPPING");
    const why =
      reasons.length === 0 ? "" : ` (${reasons.map(({ message }) => message).join("; ")})`;
    return `${status.lag.ops} changes that are not applied yet${why}`;
  }

  /** Stops draining: what is not applied stays in memory, and the next start applies it. */
  abandonDrain(): void {
    this.#isAbandoned = true;
  }

  async #drain(running: AbortController): Promise<void> {
    this.#board.isStopping = true;
    this.#listener({ event: "draining", message: "unmounting, and applying what was captured" });
    const device = this.#capture.mountId();
    await this.#capture.unmount(() => {
      this.#listener({ event: "busy", users: usersOfMount(device) });
    });
    const isApplied = await this.#applyRest();
    running.abort();
    await this.#applier.stop();
    const { isDetached } = this.#capture.known;
    const users = isDetached ? usersOfMount(device) : [];
    if (isDetached) this.#gauge.stopRecording();
    if (isApplied) this.#removeMemory(users.length > 0);
    this.#registry.remove(this.#record.id);
    this.#save({ agent: null, applier: null });
    const { appliedLsn, lsn } = this.status();
    this.#listener({ event: "stopped", appliedLsn, lsn, drained: isApplied, users });
    this.#places.lock.release();
  }

  /** True when everything captured is in the copy. */
  async #applyRest(): Promise<boolean> {
    const lsn = this.#ring.head;
    while (this.#ring.applied < lsn) {
      if (this.#isAbandoned || this.#copy.isPaused) return false;
      await this.#clock.sleep(10);
    }
    return true;
  }

  #removeMemory(isStillServed: boolean): void {
    const { shmDir } = this.#record;
    if (isStillServed) writeSmallFile(`${shmDir}/${REMOVE_WHEN_DONE}`, "");
    else removeTree(shmDir);
  }
}

/** The applier would find a wrong pattern too, but nobody would be there to correct it. */
function checkRules({ include, exclude }: LocalOptions): void {
  rulesOf({ include, exclude });
}

function noticeOf(event: ApplierEvent): LocalEvent {
  const { kind, path, action } = event as Record<string, string>;
  return {
    event: "warning",
    code: String(kind).toUpperCase(),
    message: `${path}: ${kind} (${action})`,
  };
}

function processOf({ pid, startTicks }: ProcessIdentity): ProcessIdentity {
  return { pid, startTicks };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
