/** What the applier process says on stdout: one JSON object a line. */

import { Counter } from "../apply/apply-memory.ts";
import { RecordingState } from "../journal/ring-layout.ts";
import { PassKind, Phase } from "../mirror/pass-state.ts";
import type { ApplierRuntime, Notice } from "./applier-runtime.ts";
import { LagTracker } from "./lag-tracker.ts";
import { RateMeter } from "./rate-meter.ts";

const STATUS_MS = 250;
/** Notices of one kind that are reported one by one; the rest is in the counts. */
const NOTICES_MAX = 100;
/** A file counts for as much as this many bytes of contents. */
const BYTES_PER_FILE = 4096;

export type Emit = (event: Record<string, unknown>) => void;

export class ApplierReporter {
  readonly #runtime: ApplierRuntime;
  readonly #emit: Emit;
  readonly #lag = new LagTracker();
  readonly #ops = new RateMeter();
  readonly #bytes = new RateMeter();
  readonly #notices = new Map<string, number>();
  #statusDueMs = 0;
  #progressStartMs = 0;
  #progressStartWork = 0;
  #reportedUnavailable: string | undefined;

  constructor(runtime: ApplierRuntime, emit: Emit) {
    this.#runtime = runtime;
    this.#emit = emit;
  }

  notice(notice: Notice): void {
    const count = (this.#notices.get(notice.kind) ?? 0) + 1;
    this.#notices.set(notice.kind, count);
    if (count <= NOTICES_MAX) this.#emit({ event: "notice", ...notice });
  }

  /** To be called in each round of the loop. */
  look(nowMs: number): void {
    const { ring } = this.#runtime;
    this.#lag.observe(nowMs, ring.head, ring.applied);
    this.#reportUnavailable();
    if (nowMs < this.#statusDueMs) return;
    this.#statusDueMs = nowMs + STATUS_MS;
    this.#ops.observe(nowMs, ring.applied);
    this.#bytes.observe(nowMs, this.#runtime.bytesApplied);
    this.#emit(this.status());
    if (this.#runtime.control.isPassActive) this.#emit(this.#progress(nowMs));
  }

  /** Each trouble once, and its end. */
  #reportUnavailable(): void {
    const { unavailable } = this.#runtime;
    const message = unavailable?.message;
    if (message === this.#reportedUnavailable) return;
    const wasFull = this.#reportedUnavailable !== undefined;
    this.#reportedUnavailable = message;
    if (unavailable === undefined) {
      if (wasFull) this.#emit({ event: "replica-has-room" });
      return;
    }
    const { code, hint, errno } = unavailable;
    const event = unavailable.isFull ? "replica-full" : "error";
    this.#emit({ event, code, message, hint, errno });
  }

  get state(): string {
    const { unavailable, isPaused, control } = this.#runtime;
    if (unavailable !== undefined) return unavailable.isFull ? "replica-full" : "error";
    if (isPaused) return "paused";
    const { kind } = control.state;
    if (kind === PassKind.mirror) return "mirroring";
    if (kind === PassKind.resync) return "resyncing";
    return kind === PassKind.verify ? "verifying" : "replicating";
  }

  /** Why the replica could not take over now with all data. */
  reasons(): string[] {
    const { ring, control, tree, unavailable, isPaused, isMirrored } = this.#runtime;
    const reasons: string[] = [];
    if (!isMirrored) reasons.push("the first copy is not complete");
    if (ring.recording === RecordingState.off) reasons.push("changes are not recorded");
    if (ring.recording === RecordingState.gap) reasons.push("changes were lost; a resync follows");
    if (control.state.kind === PassKind.resync) reasons.push("a resync is running");
    if (unavailable !== undefined) reasons.push(unavailable.message);
    if (isPaused) reasons.push("applying is paused");
    if (tree.wantedCount > 0 && isMirrored && control.state.kind !== PassKind.resync) {
      reasons.push(`${tree.wantedCount} files differ and are being copied again`);
    }
    return reasons;
  }

  status(): Record<string, unknown> {
    const { ring, tree, memory } = this.#runtime;
    const lag = this.#lag.figures();
    const reasons = this.reasons();
    return {
      event: "status",
      state: this.state,
      protected: reasons.length === 0,
      reasons,
      lsn: ring.head,
      appliedLsn: ring.applied,
      lagOps: ring.head - ring.applied,
      lagSeconds: lag.nowMs / 1000,
      opsPerSecond: Math.round(this.#ops.perSecond()),
      bytesPerSecond: Math.round(this.#bytes.perSecond()),
      nodes: tree.nodeCount,
      pendingResyncs: tree.wantedCount,
      diverged: memory.apply.get(Counter.diverged),
      unsupported: memory.apply.get(Counter.unsupported),
      pass: memory.apply.get(Counter.pass),
    };
  }

  passStarted(): void {
    this.#progressStartMs = 0;
  }

  #progress(nowMs: number): Record<string, unknown> {
    const { control } = this.#runtime;
    const { phase, filesDone, filesTotal, bytesDone, bytesTotal, differing } = control.state;
    const isListing = phase === Phase.listing;
    const total = bytesTotal + filesTotal * BYTES_PER_FILE;
    const done = Math.min(bytesDone, bytesTotal) + Math.min(filesDone, filesTotal) * BYTES_PER_FILE;
    const percent = isListing || total === 0 ? 0 : Math.floor((done / total) * 1000) / 10;
    return {
      event: "progress",
      phase: isListing ? "listing" : "contents",
      state: this.state,
      filesDone: Math.min(filesDone, filesTotal),
      filesTotal,
      bytesDone: Math.min(bytesDone, bytesTotal),
      bytesTotal,
      percent,
      etaSeconds: isListing ? null : this.#eta(nowMs, done, total),
      differing,
    };
  }

  /** By the rate since this process took part in the contents. */
  #eta(nowMs: number, done: number, total: number): number | null {
    if (this.#progressStartMs === 0) {
      this.#progressStartMs = nowMs;
      this.#progressStartWork = done;
    }
    const elapsedMs = nowMs - this.#progressStartMs;
    const work = done - this.#progressStartWork;
    if (elapsedMs < 1000 || work <= 0) return null;
    return Math.round((((total - done) / work) * elapsedMs) / 1000);
  }

  /** The figures of a pass that has ended. */
  passFigures(): Record<string, unknown> {
    const { control, differences } = this.#runtime;
    const { filesTotal, filesDone, bytesTotal, bytesDone } = control.state;
    return {
      files: Math.max(filesTotal, filesDone),
      bytes: Math.max(bytesTotal, bytesDone),
      differing: differences.count,
      different: differences.count,
      differences: differences.list(),
    };
  }
}
