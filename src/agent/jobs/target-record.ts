/** What a target keeps of one job between its agent's lives: `record.json` in the job's folder. */
import type {
  Onward,
  SourceState,
  StreamHello,
  StreamMount,
} from "../../protocol/stream-messages.ts";
import type { ProcessIdentity } from "../../platform/processes.ts";
import type { DueWork } from "../instance-record.ts";
import type { Unfinished } from "./unfinished.ts";

const VERSION = 1;

export interface PromotionRecord {
  /** When it began. */
  readonly at: string;
  /** Where the replicas are shown, in the order of the job's mounts. */
  readonly paths: readonly string[];
  /** The operator takes it although it is not complete. */
  readonly isForced: boolean;
  /** The last op that was applied; null: not all that was received is applied yet. */
  readonly lsn: number | null;
  /** With the LSN: what the source was asked for and can no longer bring; null: not known. */
  readonly unfinished: Unfinished | null;
  /** It is captured there, and the start command has run. */
  readonly isDone: boolean;
}

export interface TargetRecord {
  readonly version: typeof VERSION;
  readonly job: string;
  readonly name: string;
  /** Who may send: the id and the name of the source's agent. */
  readonly source: { readonly id: string; readonly name: string };
  readonly epoch: number;
  /** Set when a promotion begins: from then on nothing is taken any more. */
  readonly promotion: PromotionRecord | null;
  readonly stream: string | null;
  /** Of the source's ring, see StreamHello. */
  readonly life: number;
  readonly mounts: readonly StreamMount[];
  /** Folder that holds one folder for each mount, see {@link replicaOf}. */
  readonly replica: string;
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  readonly orphans: "keep" | "aside" | "delete";
  readonly owners: "id" | "name";
  readonly onFailureSeconds: number | null;
  readonly startCommand: string | null;
  /** See StreamHello. */
  readonly onward: Onward | null;
  readonly due: DueWork;
  /**
   * Behind this op the source has missed changes, and no comparison was complete since: up to it
   * the replica is the source's history, as long as nothing behind it was received. 0: nobody knows
   * where; null: nothing was missed.
   */
  readonly missedBehind: number | null;
  /** What the source last said of its ring, in this stream; null: nothing. */
  readonly sourceSaid: SourceState | null;
  /** While nothing of this stream is applied, the replica is at this LSN of an earlier one. */
  readonly replicaLsn: number | null;
  /** A target that this one sends on to was promoted, in words; null: none. */
  readonly superseded: string | null;
  readonly isPaused: boolean;
  /** Shared memory of another boot is gone. */
  readonly bootId: string;
  readonly applier: ProcessIdentity | null;
  /** After a power cut: what was durable then is not applied again up to here. */
  readonly replayTo?: number;
}

export function newTargetRecord(
  hello: StreamHello,
  source: { readonly id: string; readonly name: string },
  replica: string,
  bootId: string,
): TargetRecord {
  const { job, name, epoch, mounts, include, exclude, orphans, owners } = hello;
  const { onFailureSeconds, startCommand, onward } = hello;
  return {
    version: VERSION,
    job,
    name,
    source: { id: source.id, name: source.name },
    epoch,
    promotion: null,
    stream: null,
    life: 0,
    mounts,
    replica,
    include,
    exclude,
    orphans,
    owners,
    onFailureSeconds,
    startCommand,
    onward,
    due: "mirror",
    missedBehind: null,
    sourceSaid: null,
    replicaLsn: null,
    superseded: null,
    isPaused: false,
    bootId,
    applier: null,
  };
}

/** Undefined for what no Standin of this version wrote. */
export function parseTargetRecord(value: unknown): TargetRecord | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const record = value as Partial<TargetRecord>;
  if (record.version !== VERSION) return undefined;
  if (typeof record.job !== "string" || typeof record.replica !== "string") return undefined;
  if (!Array.isArray(record.mounts) || typeof record.epoch !== "number") return undefined;
  // Older records say nothing of these.
  const missedBehind = record.due === "none" ? null : 0;
  const added = {
    onward: null,
    missedBehind,
    sourceSaid: null,
    replicaLsn: null,
    superseded: null,
  };
  return { ...added, ...value } as TargetRecord;
}

export function replicaOf(record: TargetRecord, mount: StreamMount): string {
  return `${record.replica}/${mount.folder}`;
}
