/**
 * One life of a target's ring, and what works on it: the stream that fills it, the applier that
 * empties it, and who sees to it that the copy becomes complete. When the source's ring is another
 * one, the life ends and a new one begins.
 */
import { Ring } from "../../journal/ring.ts";
import { HeaderAt } from "../../journal/ring-layout.ts";
import type { SegmentLog } from "../../journal/segment-log.ts";
import type { Clock } from "../../platform/clock.ts";
import { isAlive, LivenessWatch, sendSignal } from "../../platform/processes.ts";
import type { StreamHello, TargetCopy, UnknownOwners } from "../../protocol/stream-messages.ts";
import { AnswerRouting } from "../../replication/answer-routing.ts";
import type { OwnerMapper } from "../../replication/owner-mapper.ts";
import { StreamTarget } from "../../replication/stream-target.ts";
import type { Report } from "../agent-log.ts";
import { type ApplierEvent, ApplierLink } from "../applier-link.ts";
import { checkpointHead, checkpointStream, isMarkedForRecovery } from "../checkpoint.ts";
import { CopySupervisor } from "../copy-supervisor.ts";
import type { DueWork } from "../instance-record.ts";
import { applierHealthReasons } from "../protection.ts";
import { RingGauge, type RingSample } from "../ring-gauge.ts";
import type { ConnectOnward } from "./onward-link.ts";
import { OnwardLinks } from "./onward-links.ts";
import { openOwnerMapper } from "./owner-names.ts";
import { isCopying } from "../pace.ts";
import { replicaOf, type TargetRecord } from "./target-record.ts";

/** Records that wait for the applier; behind it there is the log. */
const RING_ARENA_BYTES = 96 << 20;
const RING_SLOTS = 1 << 18;
export interface TargetLifeParts {
  readonly clock: Clock;
  readonly log: SegmentLog;
  readonly record: TargetRecord;
  readonly shmDir: string;
  readonly applierLog: string;
  readonly checkpointPath: string;
  /** What the source's users and groups are called, where that matters. */
  readonly ownersPath: string;
  readonly report: Report;
  readonly save: (change: Partial<TargetRecord>) => void;
  readonly onNotice: (event: ApplierEvent) => void;
  readonly onBroken: (error: Error) => void;
  readonly onConnection: (change: { readonly connected: boolean; readonly why: string }) => void;
  readonly connectOnward: ConnectOnward;
  /** For the targets to which the ops are sent on. */
  readonly onwardHello: () => StreamHello;
  readonly onPromotedOnward: (why: string) => void;
}

export function ringPath(shmDir: string): string {
  return `${shmDir}/ring`;
}

/** A ring whose first op will have the LSN `firstLsn`. */
export function createTargetRing(shmDir: string, firstLsn: number): Ring {
  const sizes = { arenas: 1, indexSlots: RING_SLOTS, arenaBytes: RING_ARENA_BYTES };
  return Ring.create(ringPath(shmDir), sizes, firstLsn);
}

export class TargetLife {
  readonly ring: Ring;
  readonly stream: StreamTarget;
  readonly copy: CopySupervisor;
  readonly applier: ApplierLink;
  /** Targets that get their ops from here. */
  readonly onward: OnwardLinks;
  readonly #owners: OwnerMapper | undefined;
  readonly #gauge: RingGauge;
  readonly #log: SegmentLog;
  readonly #clock: Clock;
  readonly #parts: TargetLifeParts;
  readonly #applierWatch: LivenessWatch;
  /** Everything up to here survives a power cut without the log; undefined: nothing does. */
  #checkpointLsn: number | undefined;
  /** No checkpoint could be made: after a power cut everything will be compared. */
  #hasFailed = false;
  #replayTo: number;
  /** The applier has yet to say what it found. */
  #isRecovering: boolean;
  /** As in the record. */
  #missedBehind: number | null;
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(parts: TargetLifeParts, ring: Ring) {
    const { clock, record, log } = parts;
    this.ring = ring;
    this.#log = log;
    this.#clock = clock;
    this.#parts = parts;
    this.#applierWatch = new LivenessWatch(clock);
    this.#replayTo = record.replayTo ?? 0;
    this.#missedBehind = record.missedBehind;
    this.#isRecovering = isMarkedForRecovery(parts.shmDir);
    const checkpoint = { path: parts.checkpointPath, stream: checkpointStream(log) };
    this.#checkpointLsn = checkpointHead(checkpoint.path, checkpoint.stream)?.lsn;
    this.#gauge = new RingGauge(ring);
    this.applier = new ApplierLink({
      clock,
      logFile: parts.applierLog,
      config: {
        shmDir: parts.shmDir,
        mounts: record.mounts.map((mount) => ({
          index: mount.index,
          rootIno: mount.rootIno,
          replica: replicaOf(record, mount),
          shownAs: mount.path,
        })),
        rules: { include: record.include, exclude: record.exclude },
        orphans: record.orphans,
        checkpoint,
      },
      listener: (event) => {
        this.copy.observe(event);
        if (event.event === "applier-started") {
          parts.save({ applier: this.applier.process ?? null });
        }
        if (event.event === "notice") parts.onNotice(event);
        this.#observeCheckpoints(event);
      },
    });
    this.copy = new CopySupervisor({
      clock,
      applier: this.applier,
      // Killed between hearing of a gap and noting what is due.
      due: record.due === "none" && record.missedBehind !== null ? "resync" : record.due,
      isPaused: record.isPaused,
      gaps: () => ring.word(HeaderAt.gaps),
      onDue: (due) => this.#noteDue(due),
    });
    this.#owners = record.owners === "name" ? openOwnerMapper(parts.ownersPath, clock) : undefined;
    this.stream = new StreamTarget({
      clock,
      log,
      ring,
      owners: this.#owners,
      routing: record.onward === null ? undefined : AnswerRouting.atTarget(record.onward.index),
      copy: () => this.copyState,
      sourceSaid: record.sourceSaid,
      onSource: (sourceSaid) => parts.save({ sourceSaid }),
      onGap: (behind) => this.#noteGap(behind),
      onChange: (change) => {
        this.onward.sourceChanged(change);
        parts.onConnection(change);
      },
      onBroken: parts.onBroken,
    });
    this.onward = new OnwardLinks({
      ...{ clock, log, onward: record.onward, stream: this.stream, report: parts.report },
      connect: parts.connectOnward,
      hello: parts.onwardHello,
      onPromoted: parts.onPromotedOnward,
    });
  }

  #noteDue(due: DueWork): void {
    if (due === "none") {
      this.#missedBehind = this.stream.isGapAhead ? 0 : null;
      this.#parts.save({ due, missedBehind: this.#missedBehind, replicaLsn: null });
    } else this.#parts.save({ due });
  }

  /** The first gap since the copy was complete counts. */
  #noteGap(behind: number): void {
    if (this.#missedBehind !== null) return;
    this.#missMore(this.copy.due === "none" ? behind : 0);
  }

  #missMore(behind: number): void {
    this.#missedBehind = behind;
    this.#parts.save({ missedBehind: behind });
  }

  async start(record: TargetRecord): Promise<void> {
    await endOldApplier(record, this.#clock);
    this.stream.start();
    this.applier.start();
    if (record.isPaused) this.applier.setPaused(true);
    this.#running = this.copy.run(this.#stopping.signal);
  }

  sample(): RingSample {
    return this.#gauge.sample();
  }

  /** This target, or one behind it, asks and is answered. */
  get isCopying(): boolean {
    const { work = null, isPaused } = this.copy;
    return this.onward.isCopying || (this.stream.isConnected && isCopying({ work, isPaused }));
  }

  /** Called often. */
  pump(): void {
    this.stream.pump();
    this.onward.pump();
  }

  #observeCheckpoints(event: ApplierEvent): void {
    const { report } = this.#parts;
    switch (event.event) {
      case "checkpoint":
        this.#checkpointLsn = Number(event.lsn);
        this.#hasFailed = false;
        break;
      case "checkpoint-failed":
        if (event.isRemoved === true) this.#checkpointLsn = undefined;
        if (!this.#hasFailed) {
          const message = "no checkpoint could be made: a power cut now means a full comparison";
          report("warning", message, { why: event.message });
        }
        this.#hasFailed = event.isRemoved === true;
        break;
      case "recovered":
        this.#observeRecovery(event);
        break;
      case "ready":
        this.#isRecovering = false;
        break;
      default:
        break;
    }
  }

  #observeRecovery({ problem, isForeign, moved, removed, missing }: ApplierEvent): void {
    const { report } = this.#parts;
    if (problem !== undefined || isForeign === true) {
      const why = problem ?? "the replica is another folder than before";
      report("warning", "the checkpoint could not be used; everything is compared", { why });
      this.copy.requireResync();
      this.#missMore(0);
    } else {
      const figures = { moved, removed, missing };
      report("info", "the replica's names are those of the checkpoint again", figures);
    }
  }

  /** What a power cut could take from the replica stays in the log. */
  async trim(): Promise<void> {
    const lsn = this.#hasFailed ? this.ring.applied : this.#checkpointLsn;
    if (lsn === undefined) return;
    await this.#log.trimBelow(Math.min(lsn, await this.onward.doneLsn()) + 1);
  }

  /** Ops that were durable at a power cut and are not applied again yet. */
  get toReplay(): number {
    const left = Math.max(0, this.#replayTo - this.ring.applied);
    if (left === 0 && this.#replayTo > 0) {
      this.#replayTo = 0;
      this.#parts.save({ replayTo: 0 });
    }
    return left;
  }

  /** Why the copy is not what it should be, in words; null when nothing is known. */
  get problem(): string | null {
    const { toReplay } = this;
    const replay = `after a power cut ${toReplay} ops of the log are applied again`;
    const known =
      this.stream.problem ?? this.#owners?.problem ?? this.copy.problem ?? this.#applierProblem;
    const { away } = this.stream.sourceSaid ?? {};
    if (known === undefined && away !== undefined) {
      return `who sends it has lost the source: ${away}`;
    }
    return known ?? (toReplay > 0 ? replay : null);
  }

  /** What is durable is safe, but a replica that nobody works on is no use. */
  get #applierProblem(): string | undefined {
    const { process, lastDeath } = this.applier;
    const [first] = applierHealthReasons({
      isApplierAlive: process !== undefined && this.#applierWatch.isAlive(process),
      applierDeath: lastDeath,
      silentMs: this.copy.silentMs,
    });
    return first?.message;
  }

  /** Who keeps the source's number, having no counterpart here. */
  get unknownOwners(): UnknownOwners {
    return this.#owners?.unknown ?? { count: 0, names: [] };
  }

  /** As the source and status see it. */
  get copyState(): TargetCopy {
    const { due, work, progress, pendingResyncs, isPaused, isReplicaFull } = this.copy;
    return {
      due: due === "none" && this.toReplay > 0 ? "resync" : due,
      gaps: this.copy.gapsSeen,
      work: work ?? null,
      percent: progress?.percent ?? 0,
      etaSeconds: progress?.etaSeconds ?? null,
      filesDone: progress?.filesDone ?? 0,
      filesTotal: progress?.filesTotal ?? 0,
      bytesDone: progress?.bytesDone ?? 0,
      bytesTotal: progress?.bytesTotal ?? 0,
      pendingResyncs,
      isPaused,
      isReplicaFull,
      problem: this.problem,
      unknownOwners: this.unknownOwners,
    };
  }

  /** Everything that was received is applied; false: it was given up, after `timeoutMs` at last. */
  async drain(timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    const deadline = this.#clock.monotonicMs() + timeoutMs;
    // What an applier finds in a recovery may mean that the replica is not what it should be.
    while (this.#isRecovering || this.ring.applied < this.stream.received) {
      const isLate = this.#clock.monotonicMs() > deadline;
      if (isLate || this.copy.isPaused || signal.aborted) return false;
      await this.#clock.sleep(5);
    }
    return true;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.stream.stop();
    await this.onward.stop();
    await this.applier.stop();
    await this.#running;
  }
}

/** It is safe to kill, and two must never work on one ring. */
async function endOldApplier({ applier }: TargetRecord, clock: Clock): Promise<void> {
  if (applier === null) return;
  sendSignal(applier, "SIGKILL");
  while (isAlive(applier)) await clock.sleep(5);
}
