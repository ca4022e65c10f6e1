/**
 * Keeps the copy complete: has the first mirror made, has the copy compared and repaired whenever
 * changes may have been missed, and knows at each moment whether it is complete.
 */
import { StandinError } from "../base/errors.ts";
import { type Clock, withTimeout } from "../platform/clock.ts";
import type { ApplierEvent, ApplierLink } from "./applier-link.ts";
import type { DueWork } from "./instance-record.ts";

export interface CopyProgress {
  readonly filesDone: number;
  readonly filesTotal: number;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly percent: number;
  /** Null while it cannot be told. */
  readonly etaSeconds: number | null;
}

export type CopyWork = "mirror" | "resync" | "verify";

export interface VerifyResult {
  readonly [figure: string]: unknown;
}

const RETRY_PAUSE_MS = 2000;
const IDLE_POLL_MS = 50;

export class CopySupervisor {
  readonly #clock: Clock;
  readonly #applier: ApplierLink;
  readonly #gaps: () => number;
  readonly #onDue: (due: DueWork) => void;
  #due: DueWork;
  #work: CopyWork | undefined;
  #progress: CopyProgress | undefined;
  #pendingResyncs = 0;
  #heardAtMs: number;
  #isPaused: boolean;
  #isReplicaFull = false;
  #problem: string | undefined;
  #gapsSeen: number;

  constructor(options: {
    readonly clock: Clock;
    readonly applier: ApplierLink;
    readonly due: DueWork;
    readonly isPaused: boolean;
    /** How many gaps the ring counts. */
    readonly gaps: () => number;
    /** Must be kept on disk before it is acted on. */
    readonly onDue: (due: DueWork) => void;
  }) {
    this.#clock = options.clock;
    this.#applier = options.applier;
    this.#due = options.due;
    this.#isPaused = options.isPaused;
    this.#gaps = options.gaps;
    this.#onDue = options.onDue;
    this.#gapsSeen = options.gaps();
    this.#heardAtMs = options.clock.monotonicMs();
  }

  get due(): DueWork {
    return this.#due;
  }
  /** The gaps that {@link due} takes into account. */
  get gapsSeen(): number {
    return this.#gapsSeen;
  }
  get work(): CopyWork | undefined {
    return this.#work;
  }
  get progress(): CopyProgress | undefined {
    return this.#work === undefined ? undefined : this.#progress;
  }
  get isPaused(): boolean {
    return this.#isPaused;
  }
  get isReplicaFull(): boolean {
    return this.#isReplicaFull;
  }
  /** What the applier last complained about, until it works again. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Files that were found different and are not yet copied again. */
  get pendingResyncs(): number {
    return this.#pendingResyncs;
  }
  /** How long the applier has said nothing; it reports several times a second. */
  get silentMs(): number {
    return this.#clock.monotonicMs() - this.#heardAtMs;
  }

  /** Changes may have been missed. Before the first mirror is done, that is what is due anyway. */
  requireResync(): void {
    this.#setDue(this.#due === "mirror" ? "mirror" : "resync");
  }

  /** For each event of the applier. */
  observe(event: ApplierEvent): void {
    this.#heardAtMs = this.#clock.monotonicMs();
    switch (event.event) {
      case "status":
        this.#pendingResyncs = Number(event.pendingResyncs ?? 0);
        break;
      case "progress":
        this.#progress = progressOf(event);
        break;
      case "applier-started":
        this.#isReplicaFull = false;
        break;
      case "replica-full":
        this.#isReplicaFull = true;
        break;
      case "replica-has-room":
        this.#isReplicaFull = false;
        this.#problem = undefined;
        break;
      case "ready":
        this.#problem = undefined;
        break;
      case "error":
      case "failed":
        this.#problem = String(event.message ?? "the applier reported an error");
        break;
      default:
        break;
    }
  }

  /** Does what is due, until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#noticeGaps();
      if (this.#due !== "none" && this.#work === undefined) await this.#doDueWork(signal);
      else await this.#clock.sleep(IDLE_POLL_MS, signal);
    }
  }

  #noticeGaps(): void {
    const gaps = this.#gaps();
    if (gaps === this.#gapsSeen) return;
    this.#gapsSeen = gaps;
    this.requireResync();
  }

  async #doDueWork(signal: AbortSignal): Promise<void> {
    const due = this.#due;
    const gapsBefore = this.#gaps();
    this.#gapsSeen = gapsBefore;
    const work = due === "mirror" ? "mirror" : "resync";
    try {
      await this.#perform(work, signal);
      this.#problem = undefined;
      // A connection lost or a gap meanwhile leaves more to do.
      if (this.#gaps() === gapsBefore && !this.#isRequiredAgain) this.#setDue("none");
      else this.#setDue("resync");
    } catch (error) {
      if (signal.aborted) return;
      this.#problem = (error as Error).message;
      await this.#clock.sleep(RETRY_PAUSE_MS, signal);
    }
  }

  #isRequiredAgain = false;

  #setDue(due: DueWork): void {
    if (due === "resync" && this.#work !== undefined) this.#isRequiredAgain = true;
    if (due === this.#due) return;
    this.#due = due;
    this.#onDue(due);
  }

  async #perform(work: CopyWork, signal: AbortSignal, repair = true): Promise<ApplierEvent> {
    this.#work = work;
    this.#isRequiredAgain = false;
    this.#progress = undefined;
    try {
      const command =
        work === "mirror"
          ? ({ command: "mirror" } as const)
          : ({ command: "verify", repair } as const);
      return await this.#applier.request(command, signal);
    } finally {
      this.#work = undefined;
    }
  }

  /**
   * Compares the copy with the source as of one LSN for each block; with `repair`, copies what
   * differs.
   */
  async verify(repair: boolean, signal: AbortSignal): Promise<VerifyResult> {
    if (this.#work !== undefined) {
      throw new StandinError("BUSY", `a ${this.#work} is running`, {
        hint: "Wait for it to end: standin status --watch",
      });
    }
    return this.#perform("verify", signal, repair);
  }

  /**
   * Settles when the copy is complete and everything up to `lsn` is applied: what was never
   * captured has no LSN that could be waited for. @throws {StandinError} `FLUSH_TIMEOUT`
   */
  async flush(lsn: number, timeoutMs: number): Promise<void> {
    const given = new AbortController();
    try {
      await withTimeout(this.#clock, timeoutMs, this.#applyAll(lsn, given.signal), () =>
        this.#flushTimeout(lsn, timeoutMs),
      );
    } finally {
      given.abort();
    }
  }

  async #applyAll(lsn: number, signal: AbortSignal): Promise<void> {
    while (!this.#isComplete && !signal.aborted) await this.#clock.sleep(IDLE_POLL_MS, signal);
    await this.#applier.request({ command: "flush", lsn }, signal);
  }

  /** A gap counts from its first moment, not from when it is noticed. */
  get #isComplete(): boolean {
    const isGapSeen = this.#gaps() === this.#gapsSeen;
    return this.#due === "none" && isGapSeen && this.#pendingResyncs === 0;
  }

  #flushTimeout(lsn: number, timeoutMs: number): StandinError {
    const why = this.#isPaused
      ? "applying is paused"
      : this.#isReplicaFull
        ? "the replica's disk is full"
        : (this.#problem ?? this.#whyBehind());
    return new StandinError(
      "FLUSH_TIMEOUT",
      `not everything up to LSN ${lsn} was applied within ${timeoutMs / 1000} s: ${why}`,
      {
        hint: this.#isPaused
          ? "Run standin resume, then flush again."
          : "Look at standin status, or give a longer --timeout.",
      },
    );
  }

  #whyBehind(): string {
    if (this.#due === "mirror") return "the first full copy is not complete";
    return this.#isComplete ? "the applier is behind" : "a resync is not complete";
  }

  setPaused(isPaused: boolean): void {
    this.#isPaused = isPaused;
    this.#applier.setPaused(isPaused);
  }
}

function progressOf(event: ApplierEvent): CopyProgress {
  const eta = event.etaSeconds;
  return {
    filesDone: Number(event.filesDone ?? 0),
    filesTotal: Number(event.filesTotal ?? 0),
    bytesDone: Number(event.bytesDone ?? 0),
    bytesTotal: Number(event.bytesTotal ?? 0),
    percent: Number(event.percent ?? 0),
    etaSeconds: typeof eta === "number" ? eta : null,
  };
}
