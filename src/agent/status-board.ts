/** Samples the ring, and composes the status from what the supervisors know. */
import type { Clock } from "../platform/clock.ts";
import { isAlive, type ProcessIdentity, residentBytes } from "../platform/processes.ts";
import type { ApplierLink } from "./applier-link.ts";
import type { CaptureSupervisor } from "./capture-supervisor.ts";
import type { CopySupervisor } from "./copy-supervisor.ts";
import type {
  InstanceStatus,
  ProcessRole,
  ProcessStatus,
  ProgressStatus,
  StatusReason,
} from "./instance-status.ts";
import { LagTracker } from "./lag-tracker.ts";
import { type ProtectionFacts, reasonsAgainst, stateOf } from "./protection.ts";
import { RateMeter } from "./rate-meter.ts";
import type { RingGauge, RingSample } from "./ring-gauge.ts";

/** Resolution of the lag. The applier naps as long; a look costs what a wake-up costs. */
const SAMPLE_MS = 32;

export interface StatusIdentity {
  readonly id: string;
  readonly stateDirectory: string;
  readonly source: string;
  readonly replica: string;
}

export class StatusBoard {
  readonly #clock: Clock;
  readonly #identity: StatusIdentity;
  readonly #gauge: RingGauge;
  readonly #capture: CaptureSupervisor;
  readonly #applier: ApplierLink;
  readonly #copy: CopySupervisor;
  readonly #agentRestarts: number;
  readonly #startedMs: number;
  readonly #lag = new LagTracker();
  readonly #capturedOps = new RateMeter();
  readonly #capturedBytes = new RateMeter();
  readonly #appliedOps = new RateMeter();
  readonly #appliedBytes = new RateMeter();
  readonly #firstSample: RingSample;
  readonly #excluded: StatusReason[] = [];
  isStopping = false;

  constructor(options: {
    readonly clock: Clock;
    readonly identity: StatusIdentity;
    readonly gauge: RingGauge;
    readonly capture: CaptureSupervisor;
    readonly applier: ApplierLink;
    readonly copy: CopySupervisor;
    readonly agentRestarts: number;
  }) {
    this.#clock = options.clock;
    this.#identity = options.identity;
    this.#gauge = options.gauge;
    this.#capture = options.capture;
    this.#applier = options.applier;
    this.#copy = options.copy;
    this.#agentRestarts = options.agentRestarts;
    this.#startedMs = options.clock.monotonicMs();
    this.#firstSample = options.gauge.sample();
  }

  /** Something below the source that is never copied. */
  exclude(reason: StatusReason): void {
    this.#excluded.push(reason);
  }

  async run(signal: AbortSignal): Promise<void> {
    let rateDueMs = 0;
    while (!signal.aborted) {
      const nowMs = this.#clock.monotonicMs();
      const sample = this.#gauge.sample();
      this.#lag.observe(nowMs, sample.head, sample.applied);
      if (nowMs >= rateDueMs) {
        this.#observeRates(nowMs, sample);
        rateDueMs = nowMs + 250;
      }
      await this.#clock.sleep(SAMPLE_MS, signal);
    }
  }

  #observeRates(nowMs: number, sample: RingSample): void {
    this.#capturedOps.observe(nowMs, sample.head);
    this.#capturedBytes.observe(nowMs, sample.bytesCaptured);
    this.#appliedOps.observe(nowMs, sample.applied);
    this.#appliedBytes.observe(nowMs, sample.bytesCaptured - sample.bytesPending);
  }

  status(): InstanceStatus {
    const nowMs = this.#clock.monotonicMs();
    const sample = this.#gauge.sample();
    const facts = this.#facts(sample);
    const reasons = reasonsAgainst(facts);
    const lag = this.#lag.figures();
    return {
      ...this.#identity,
      state: stateOf(facts),
      protected: reasons.length === 0,
      reasons,
      excluded: this.#excluded,
      processes: this.#processes(),
      lsn: sample.head,
      appliedLsn: sample.applied,
      lag: {
        ops: sample.head - sample.applied,
        bytes: sample.bytesPending,
        seconds: lag.nowMs / 1000,
        p50Seconds: lag.p50Ms / 1000,
        p99Seconds: lag.p99Ms / 1000,
        maxSeconds: lag.maxMs / 1000,
      },
      rates: this.#rates(),
      queue: {
        bytes: sample.bytesPending,
        capacityBytes: sample.capacityBytes,
        fill: sample.fill,
        gaps: sample.gaps,
        opsLost: sample.opsLost,
      },
      totals: {
        ops: sample.head - this.#firstSample.head,
        bytes: sample.bytesCaptured - this.#firstSample.bytesCaptured,
      },
      progress: this.#progress(),
      uptimeSeconds: (nowMs - this.#startedMs) / 1000,
    };
  }

  #facts(sample: RingSample): ProtectionFacts {
    const { known } = this.#capture;
    return {
      isMounted: this.#capture.isMounted,
      isServing: known.isServing && isRunning(known.engine),
      isBroken: this.#capture.isBroken,
      isKeeperAlive: isRunning(known.keeper),
      isApplierAlive: isRunning(this.#applier.process),
      applierDeath: this.#applier.lastDeath,
      recording: sample.recording,
      opsLost: sample.opsLost,
      due: this.#copy.due,
      work: this.#copy.work,
      isPaused: this.#copy.isPaused,
      isReplicaFull: this.#copy.isReplicaFull,
      problem: this.#copy.problem,
      pendingResyncs: this.#copy.pendingResyncs,
      silentMs: this.#copy.silentMs,
      stalledMs: this.#lag.stalledMs,
      isStopping: this.isStopping,
    };
  }

  #rates(): InstanceStatus["rates"] {
    return {
      capturedOpsPerSecond: Math.round(this.#capturedOps.perSecond()),
      capturedBytesPerSecond: Math.round(this.#capturedBytes.perSecond()),
      appliedOpsPerSecond: Math.round(this.#appliedOps.perSecond()),
      appliedBytesPerSecond: Math.round(this.#appliedBytes.perSecond()),
    };
  }

  #processes(): ProcessStatus[] {
    const { keeper, engine, keeperStarts, engineStarts } = this.#capture.known;
    return [
      processStatus("agent", process.pid, this.#agentRestarts),
      processStatus("keeper", livePid(keeper), Math.max(0, keeperStarts - 1)),
      processStatus("engine", livePid(engine), Math.max(0, engineStarts - 1)),
      processStatus(
        "applier",
        livePid(this.#applier.process),
        Math.max(0, this.#applier.starts - 1),
      ),
    ];
  }

  #progress(): ProgressStatus | null {
    const { progress, work } = this.#copy;
    if (progress === undefined || work === undefined) return null;
    return { work, ...progress };
  }
}

function processStatus(role: ProcessRole, pid: number | null, restarts: number): ProcessStatus {
  return { role, pid, memoryBytes: pid === null ? 0 : residentBytes(pid), restarts };
}

function isRunning(process: ProcessIdentity | undefined): boolean {
  return process !== undefined && isAlive(process);
}

function livePid(process: ProcessIdentity | undefined): number | null {
  return process !== undefined && isAlive(process) ? process.pid : null;
}
