/**
 * The applier's one loop: batches of ops, questions to the source, reports, commands. It wakes with
 * the ring and not with each op: a writer that woke us for every op would be preempted by us for
 * every op. Idle, it sleeps on the ring.
 */
import { ReplicaUnavailableError } from "../apply/apply-error.ts";
import { PassKind } from "../mirror/pass-state.ts";
import type { Clock } from "../platform/clock.ts";
import { nextTurn } from "../platform/turn.ts";
import type { ApplierReporter, Emit } from "./applier-reporter.ts";
import type { ApplierRuntime } from "./applier-runtime.ts";
import type { Checkpointer } from "./checkpointer.ts";
import { Pace, PRESSING_FILL } from "./pace.ts";

/** Longest time between two looks at commands. */
const BATCH_MS = 10;
const IDLE_WAIT_MS_MIN = 2;
const IDLE_WAIT_MS_MAX = 50;
/** The replica's times are set when nothing was to do for so long, and in any case so often. */
const FLUSH_IDLE_MS = 20;
const FLUSH_MS = 5000;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 5000;

interface FlushRequest {
  readonly id: unknown;
  readonly lsn: number;
}

interface PassRequest {
  readonly id: unknown;
  readonly command: "mirror" | "verify";
  readonly repair: boolean;
}

export class ApplierLoop {
  readonly #runtime: ApplierRuntime;
  readonly #reporter: ApplierReporter;
  readonly #clock: Clock;
  readonly #emit: Emit;
  #flushes: FlushRequest[] = [];
  #passes: PassRequest[] = [];
  #isStopping = false;
  #idleSinceMs = 0;
  #idleWaitMs = IDLE_WAIT_MS_MIN;
  #flushedAtMs = 0;
  #retryAtMs = 0;
  #retryMs = RETRY_MS_MIN;
  #hasTrash = true;
  readonly #pace = new Pace();
  #wake: (() => void) | undefined;
  /** Undefined where ops cannot be applied again: what is on this machine is lost with it. */
  checkpointer: Checkpointer | undefined;

  constructor(runtime: ApplierRuntime, reporter: ApplierReporter, clock: Clock, emit: Emit) {
    this.#runtime = runtime;
    this.#reporter = reporter;
    this.#clock = clock;
    this.#emit = emit;
  }

  /** A command of the agent; what is unknown is answered with an error. */
  command(command: Record<string, unknown>): void {
    const id = command.id;
    this.#wake?.();
    switch (command.command) {
      case "flush":
        this.#flushes.push({ id, lsn: Number(command.lsn ?? 0) });
        break;
      case "mirror":
        this.#passes.push({ id, command: "mirror", repair: true });
        break;
      case "verify":
        this.#passes.push({ id, command: "verify", repair: command.repair === true });
        break;
      case "pause":
        this.#runtime.isPaused = true;
        break;
      case "resume":
        this.#runtime.isPaused = false;
        break;
      case "checkpoint":
        this.checkpointer?.prepare();
        break;
      case "stop":
        this.#isStopping = true;
        break;
      default:
        this.#emit({ event: "error", id, code: "COMMAND", message: "unknown command" });
    }
  }

  async run(): Promise<void> {
    while (!(this.#isStopping && this.#canStop())) {
      const nowMs = this.#clock.monotonicMs();
      const count = this.#isHeld(nowMs) ? 0 : this.#work(nowMs);
      this.checkpointer?.look();
      this.#reporter.look(this.#clock.monotonicMs());
      await this.#pause(count);
    }
    this.#runtime.applier.replica.flush();
    await this.checkpointer?.end();
    this.#runtime.applier.replica.closeAll();
  }

  /**
   * Everything that was recorded is applied; what the replica refuses or a pause holds back stays
   * in the ring.
   */
  #canStop(): boolean {
    const { isDrained, isPaused, unavailable } = this.#runtime;
    return isDrained || isPaused || unavailable !== undefined;
  }

  #isHeld(nowMs: number): boolean {
    return this.#runtime.unavailable !== undefined && nowMs < this.#retryAtMs;
  }

  #work(nowMs: number): number {
    const runtime = this.#runtime;
    const wasUnavailable = runtime.unavailable !== undefined;
    if (runtime.ring.fillMax > PRESSING_FILL) this.#pace.press(nowMs);
    const count = runtime.applyBatch(() => this.#clock.monotonicMs(), nowMs + BATCH_MS);
    // What failed may have been no op; then it is tried below.
    if (wasUnavailable && runtime.isDrained) runtime.unavailable = undefined;
    this.#guard(() => {
      this.#startPasses();
      runtime.housekeep(this.#clock.monotonicMs());
      this.#flushTimes(nowMs, count);
      this.#answerFlushes();
    });
    if (runtime.unavailable === undefined) this.#retryMs = RETRY_MS_MIN;
    else {
      this.#retryAtMs = nowMs + this.#retryMs;
      this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS_MAX);
    }
    return count;
  }

  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof ReplicaUnavailableError)) throw error;
      this.#runtime.unavailable = error;
    }
  }

  #flushTimes(nowMs: number, count: number): void {
    const { replica } = this.#runtime.applier;
    if (count > 0) this.#idleSinceMs = nowMs;
    const isIdle = nowMs - this.#idleSinceMs >= FLUSH_IDLE_MS;
    if (replica.pending.size > 0 && (isIdle || nowMs - this.#flushedAtMs >= FLUSH_MS)) {
      replica.flush();
      this.#flushedAtMs = nowMs;
    }
    const { isPassActive } = this.#runtime.control;
    if (isPassActive) this.#hasTrash = true;
    if (isIdle && this.#hasTrash) this.#hasTrash = this.#runtime.applier.emptyTrash();
  }

  #answerFlushes(): void {
    if (this.#flushes.length === 0) return;
    const { applied } = this.#runtime.ring;
    const due = this.#flushes.filter(({ lsn }) => lsn <= applied);
    if (due.length === 0) return;
    this.#runtime.applier.replica.flush();
    this.#flushes = this.#flushes.filter(({ lsn }) => lsn > applied);
    for (const { id } of due) this.#emit({ flushed: id, id, lsn: applied });
  }

  /**
   * Passes that were asked for, one after the other; one that does the work of another answers
   * both.
   */
  #startPasses(): void {
    const { control } = this.#runtime;
    const next = this.#passes[0];
    if (next === undefined || control.isPassActive || this.#runtime.isPaused) return;
    // The first copy begins by itself, as soon as changes are recorded.
    if (!this.#runtime.isMirrored) return;
    if (next.command === "mirror") this.#runtime.startPass(PassKind.mirror);
    else this.#runtime.startPass(next.repair ? PassKind.resync : PassKind.verify);
  }

  passEnded(kind: PassKind): void {
    const compares = kind === PassKind.verify;
    const figures = this.#reporter.passFigures();
    const done = this.#passes.filter(({ repair }) => repair !== compares);
    this.#passes = this.#passes.filter(({ repair }) => repair === compares);
    this.#guard(() => this.#runtime.applier.replica.flush());
    const lsn = this.#runtime.ring.applied;
    for (const { id, command, repair } of done) {
      const event = command === "mirror" ? "mirrored" : "verified";
      this.#emit({ event, id, repair, lsn, ...figures });
    }
    if (done.length > 0) return;
    this.#emit({ event: kind === PassKind.mirror ? "mirrored" : "resynced", lsn, ...figures });
  }

  async #pause(count: number): Promise<void> {
    const runtime = this.#runtime;
    const { reader, ring } = runtime;
    if (count > 0) {
      this.#idleWaitMs = IDLE_WAIT_MS_MIN;
      const isEmpty = !ring.isPublished(reader.lsnNext);
      await (isEmpty && !this.#isStopping ? this.#nap() : nextTurn());
      return;
    }
    const waitMs = this.#idleWaitMs;
    this.#idleWaitMs = Math.min(waitMs * 2, IDLE_WAIT_MS_MAX);
    // Ops that may not be applied now must not wake us.
    if (runtime.isPaused || runtime.unavailable !== undefined) await this.#clock.sleep(waitMs);
    else {
      ring.waitBeyond(reader.lsnNext - 1, waitMs);
      await nextTurn();
    }
  }

  /**
   * After a batch that emptied the ring: a turn of the loop costs as much as a dozen ops. Until a
   * command comes, at most; shorter while somebody waits for what comes as ops.
   */
  #nap(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const isAwaited = this.#runtime.control.outstanding > 0 || this.#flushes.length > 0;
    const nowMs = this.#clock.monotonicMs();
    if (isAwaited) this.#pace.press(nowMs);
    void this.#clock.sleep(this.#pace.pauseMs(nowMs)).then(resolve);
    return promise;
  }
}
