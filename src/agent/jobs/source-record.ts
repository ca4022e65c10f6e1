/** What a source keeps of one job between its agent's lives: `job.json` in the job's folder. */
import type { ProcessIdentity } from "../../platform/processes.ts";
import type { StreamMount } from "../../protocol/stream-messages.ts";
import type { Compression } from "../../replication/stream-source.ts";
import type { JobTarget } from "./target-settings.ts";

const VERSION = 1;

/** What the operator asked for. */
export interface JobSettings {
  readonly name: string;
  readonly paths: readonly string[];
  readonly targets: readonly JobTarget[];
  /** On the targets; null: below the agent's state folder. */
  readonly replica: string | null;
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  readonly orphans: "keep" | "aside" | "delete";
  readonly owners: "id" | "name";
  readonly compression: Compression;
  /** See StreamHello. */
  readonly onFailureSeconds: number | null;
  readonly startCommand: string | null;
  readonly ringBytes: number;
  readonly workers: number;
}

export interface SourceRecord extends JobSettings {
  readonly version: typeof VERSION;
  readonly id: string;
  readonly epoch: number;
  readonly mounts: readonly StreamMount[];
  /** Which life of the ring the LSNs belong to. */
  readonly stream: string;
  readonly life: number;
  /** No LSN above it was given out when this was written; another ring begins well beyond it. */
  readonly lsnSeen: number;
  readonly bootId: string;
  readonly isPaused: boolean;
  readonly keeper: ProcessIdentity | null;
  readonly engine: ProcessIdentity | null;
  /** After a promotion: the folders that are shown at the paths, in their order; else empty. */
  readonly binds: readonly string[];
  /** Why this server may not capture any more; null while it may. */
  readonly fenced: string | null;
}

export function newSourceRecord(
  settings: JobSettings,
  fixed: Pick<SourceRecord, "id" | "mounts" | "stream" | "bootId" | "epoch" | "binds">,
): SourceRecord {
  return {
    version: VERSION,
    ...settings,
    ...fixed,
    life: 1,
    lsnSeen: 0,
    isPaused: false,
    keeper: null,
    engine: null,
    fenced: null,
  };
}

/** Undefined for what no Standin of this version wrote. */
export function parseSourceRecord(value: unknown): SourceRecord | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const record = value as Partial<SourceRecord>;
  if (record.version !== VERSION || typeof record.id !== "string") return undefined;
  if (!Array.isArray(record.paths) || !Array.isArray(record.targets)) return undefined;
  if (!Array.isArray(record.mounts) || typeof record.stream !== "string") return undefined;
  if (!Array.isArray(record.binds)) return undefined;
  // Targets of before there were chains get everything from the source.
  const targets = record.targets.map((target: Partial<JobTarget>) => ({
    through: null,
    ...target,
  }));
  return { ...(value as SourceRecord), targets: targets as JobTarget[] };
}
