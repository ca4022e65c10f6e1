/** What an agent says of a job. Nothing is called protected that is not. */
import { StandinError } from "../../base/errors.ts";
import type { TargetCopy, UnknownOwners } from "../../protocol/stream-messages.ts";
import type { LimitSettings } from "../../replication/scheduled-limit.ts";
import type { StatusReason } from "../instance-status.ts";
import { captureReasons, stallReasons } from "../protection.ts";
import type { SourceJob } from "./source-job.ts";
import type { TargetJob } from "./target-job.ts";
import { type PromotionRecord, replicaOf, type TargetRecord } from "./target-record.ts";
import type { TargetView } from "./target-view.ts";

export interface TargetStatus {
  readonly agent: string;
  /** The target that sends it the ops; null: this server does. */
  readonly through: string | null;
  readonly isConnected: boolean;
  readonly durableLsn: number;
  readonly appliedLsn: number;
  readonly lagOps: number;
  readonly lagSeconds: number;
  /** Of all changes since the agent started: how long each was on its way to the replica. */
  readonly lagP50Seconds: number;
  readonly lagP99Seconds: number;
  readonly lagMaxSeconds: number;
  readonly bytesSent: number;
  readonly limit: LimitStatus;
  /** Address of this server from which it connects; null: any. */
  readonly via: string | null;
  /** Who keeps the source's number, having no counterpart of that name there. */
  readonly unknownOwners: UnknownOwners;
  readonly progress: {
    readonly work: string;
    readonly percent: number;
    readonly etaSeconds: number | null;
  } | null;
  readonly reasons: readonly StatusReason[];
}

/** One of a job's folders. */
export interface FolderStatus {
  /** On the source. */
  readonly path: string;
  /** On the target: where its replica lies. On the source: its name in each target's folder. */
  readonly replica: string;
  /** In words: "captured", "complete", … */
  readonly state: string;
}

export interface LimitStatus extends LimitSettings {
  /** Holds now; null: as fast as it goes. */
  readonly bytesPerSecond: number | null;
  /** ISO time when another one will; null: never. */
  readonly until: string | null;
}

/** Of a job that is sent from here. */
export interface SourceStatus {
  readonly role: "source";
  readonly id: string;
  readonly name: string;
  readonly paths: readonly string[];
  readonly folders: readonly FolderStatus[];
  readonly epoch: number;
  readonly protected: boolean;
  readonly reasons: readonly StatusReason[];
  readonly lsn: number;
  /** In this life of the ring. */
  readonly bytesCaptured: number;
  readonly queueBytes: number;
  readonly spilledBytes: number;
  /** Null: not running, as far as is known. */
  readonly processes: { readonly keeper: number | null; readonly engine: number | null };
  readonly targets: readonly TargetStatus[];
}

/** Of a job that is received here. */
export interface ReplicaStatus {
  readonly role: "target";
  readonly id: string;
  readonly name: string;
  readonly source: string;
  /** Folder that holds the folders of the replicas. */
  readonly replica: string;
  readonly folders: readonly FolderStatus[];
  readonly epoch: number;
  readonly promotion: PromotionRecord | null;
  readonly isConnected: boolean;
  readonly receivedLsn: number;
  readonly durableLsn: number;
  readonly appliedLsn: number;
  readonly duplicates: number;
  readonly isPaused: boolean;
  readonly due: string;
  /** A promotion would have the source's history up to one LSN. */
  readonly isComplete: boolean;
  /** Files that the source has yet to bring; each may be missing or older. */
  readonly pendingResyncs: number;
  readonly problem: string | null;
  readonly unknownOwners: UnknownOwners;
  /** Targets that get the job's ops from here. */
  readonly onward: readonly OnwardStatus[];
}

export interface OnwardStatus {
  readonly agent: string;
  readonly isConnected: boolean;
  /** Why not, in words; null: nothing is known to be wrong. */
  readonly why: string | null;
  readonly durableLsn: number;
  readonly appliedLsn: number;
}

const NOBODY: UnknownOwners = { count: 0, names: [] };

export type JobStatus = SourceStatus | ReplicaStatus;

export function sourceStatus(job: SourceJob, nameOf: (agent: string) => string): SourceStatus {
  const { id, name, paths, epoch } = job.record;
  const sample = job.sample();
  const processes = job.capture.livingPids;
  const unmounted = job.capture.unmountedPaths();
  const targets = job.targets.map((target) => targetStatus(target, job, nameOf));
  const reasons = jobReasons(job, { unmounted, isKeeperAlive: processes.keeper !== null });
  const all = [...reasons, ...targets.flatMap((target) => target.reasons)];
  return {
    role: "source",
    id,
    name,
    paths,
    folders: sourceFolders(job, unmounted),
    epoch,
    protected: all.length === 0 && targets.length > 0,
    reasons,
    lsn: job.lastLsn,
    bytesCaptured: sample.bytesCaptured,
    queueBytes: sample.bytesPending,
    spilledBytes: job.store.spilledBytes,
    processes,
    targets,
  };
}

/** Why a flush did not end, or, where nothing is known to be wrong, where its ops are held up. */
export function flushTimeout(
  { store }: SourceJob,
  { reasons, targets }: SourceStatus,
  lsn: number,
  timeoutMs: number,
): StandinError {
  const [first] = [...reasons, ...targets.flatMap((target) => target.reasons)];
  const places = targets.map(({ agent, durableLsn, appliedLsn }) => {
    return `${agent} has received up to LSN ${durableLsn} and applied up to ${appliedLsn}`;
  });
  const place = `up to LSN ${store.look()} can be sent; ${places.join("; ")}`;
  const why = first?.message ?? place;
  return new StandinError(
    "FLUSH_TIMEOUT",
    `not everything up to LSN ${lsn} was applied within ${timeoutMs / 1000} s: ${why}`,
    { hint: "Look at standin jobs, or give a longer --timeout." },
  );
}

function sourceFolders({ record }: SourceJob, unmounted: readonly string[]): FolderStatus[] {
  return record.mounts.map(({ path, folder: replica }) => {
    if (record.fenced !== null) return { path, replica, state: "given up" };
    return { path, replica, state: unmounted.includes(path) ? "not mounted" : "captured" };
  });
}

function jobReasons(
  job: SourceJob,
  { unmounted, isKeeperAlive }: { unmounted: readonly string[]; isKeeperAlive: boolean },
): StatusReason[] {
  const { fenced, targets } = job.record;
  if (fenced !== null) return [{ code: "FENCED", message: fenced }];
  const { isBroken, known } = job.capture;
  const { isServing, isMounted } = known;
  const facts = { isStopping: false, isBroken, isMounted, isServing, isKeeperAlive };
  const reasons = captureReasons(facts);
  const add = (code: string, message: string) => reasons.push({ code, message });
  if (isMounted) {
    for (const path of unmounted) {
      add("MOUNT_LOST", `${path} is not mounted: changes there are not captured`);
    }
  }
  if (targets.length === 0) add("NO_TARGET", "the job has no target: changes go nowhere");
  const { recording, opsLost } = job.sample();
  if (recording === "gap") add("GAP", `${opsLost} changes were not captured, a resync follows`);
  const { spillProblem } = job.store;
  if (spillProblem !== undefined) {
    add("SPILL_FAILED", `changes cannot be kept on disk: ${spillProblem}`);
  }
  return reasons;
}

function targetStatus(
  target: TargetView,
  job: SourceJob,
  nameOf: (agent: string) => string,
): TargetStatus {
  const head = job.lastLsn;
  const { copy, through, durable, applied } = target;
  const agent = nameOf(target.agent);
  const lag = target.lag.figures();
  return {
    agent,
    through: through === null ? null : nameOf(through),
    isConnected: target.isConnected,
    durableLsn: durable,
    appliedLsn: applied,
    lagOps: Math.max(0, head - applied),
    lagSeconds: lag.nowMs / 1000,
    lagP50Seconds: lag.p50Ms / 1000,
    lagP99Seconds: lag.p99Ms / 1000,
    lagMaxSeconds: lag.maxMs / 1000,
    bytesSent: target.bytesSent,
    limit: limitStatus(target),
    via: job.record.targets.find((one) => one.agent === target.agent)?.via ?? null,
    unknownOwners: copy?.unknownOwners ?? NOBODY,
    progress:
      copy === undefined || copy.work === null
        ? null
        : { work: copy.work, percent: copy.percent, etaSeconds: copy.etaSeconds },
    reasons: targetReasons(target, agent, job.sample().gaps),
  };
}

function limitStatus({ limit, limitNow }: TargetView): LimitStatus {
  const { bytesPerSecond, untilMs } = limitNow;
  const until = untilMs === null ? null : new Date(untilMs).toISOString();
  return { ...limit.settings, bytesPerSecond, until };
}

function targetReasons(target: TargetView, agent: string, gaps: number): StatusReason[] {
  const { copy, lag, limitNow, lastError } = target;
  const reasons: StatusReason[] = [];
  const add = (code: string, message: string) =>
    reasons.push({ code, message: `${agent}: ${message}` });
  if (!target.isConnected) {
    add("TARGET_AWAY", `not connected${lastError === undefined ? "" : ` (${lastError})`}`);
    return reasons;
  }
  if (copy === undefined || copy.gaps !== gaps) {
    add("COPY_UNKNOWN", "has not said yet how its copy is");
    return reasons;
  }
  if (copy.due === "mirror") add("NOT_MIRRORED", "the first full copy is not complete");
  if (copy.due === "resync") add("RESYNC_DUE", "the copy is being compared and repaired");
  if (copy.isPaused) add("PAUSED", "applying is paused: changes wait on its disk");
  if (copy.isReplicaFull) add("REPLICA_FULL", "the replica's disk is full");
  if (copy.pendingResyncs > 0 && copy.due === "none") {
    add("FILES_DIFFER", `${copy.pendingResyncs} files differ and are being copied again`);
  }
  if (copy.problem !== null) add("PROBLEM", copy.problem);
  // Where nothing is known to hold the ops up, not even a limit.
  if (reasons.length === 0 && limitNow.bytesPerSecond === null) {
    for (const { code, message } of stallReasons(lag.stalledMs)) add(code, message);
  }
  return reasons;
}

/** The copies become complete together: the order over all of them is one. */
function replicaFolders(record: TargetRecord, due: TargetCopy["due"]): FolderStatus[] {
  const { mounts, promotion } = record;
  return mounts.map((mount, i) => {
    const { path } = mount;
    const replica = replicaOf(record, mount);
    if (promotion === null) return { path, replica, state: COPY_STATES[due] };
    const state = promotion.isDone ? "promoted to" : "being promoted to";
    return { path, replica, state: `${state} ${promotion.paths[i] ?? ""}` };
  });
}

const COPY_STATES = {
  none: "complete",
  mirror: "being copied for the first time",
  resync: "being compared",
} as const;

export function replicaStatus(
  { record, life, isComplete, appliedLsn }: TargetJob,
  nameOf: (agent: string) => string,
): ReplicaStatus {
  const { job, name, source, replica, epoch, promotion, isPaused } = record;
  const due = life?.copyState.due ?? record.due;
  return {
    role: "target",
    id: job,
    name,
    source: source.name,
    replica,
    folders: replicaFolders(record, due),
    epoch,
    promotion,
    isConnected: life?.stream.isConnected ?? false,
    receivedLsn: life?.stream.received ?? 0,
    durableLsn: life?.stream.durable ?? 0,
    appliedLsn,
    duplicates: life?.stream.duplicates ?? 0,
    isPaused,
    due,
    isComplete,
    pendingResyncs: life?.copyState.pendingResyncs ?? 0,
    problem: life?.problem ?? null,
    unknownOwners: life?.unknownOwners ?? NOBODY,
    onward: (life?.onward.all ?? []).map((link) => ({
      agent: nameOf(link.agent),
      isConnected: link.isConnected,
      why: link.promoted ?? (link.isConnected ? null : (link.lastError ?? null)),
      durableLsn: link.durable,
      appliedLsn: link.applied,
    })),
  };
}
