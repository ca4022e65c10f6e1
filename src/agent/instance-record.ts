/**
 * What an instance of `standin local` keeps in its state folder, so that the next one with the same
 * folder finds what an earlier one left running: `instance.json`, written whole at each change.
 */
import type { ProcessIdentity } from "../platform/processes.ts";

const VERSION = 1;

/** What must happen before the copy can be called complete. */
export type DueWork =
  /** Nothing: every change since the last complete copy is in the ring or applied. */
  | "none"
  /** The first full copy. */
  | "mirror"
  /** A comparison that copies what differs, because changes may have been missed. */
  | "resync";

export interface InstanceRecord {
  readonly version: typeof VERSION;
  readonly id: string;
  readonly source: string;
  /** Inode of the folder beneath the mount: the root of every path of the job. */
  readonly sourceInode: number;
  readonly replica: string;
  readonly shmDir: string;
  readonly workers: number;
  /** Changes at each boot: shared memory and processes of another boot are gone. */
  readonly bootId: string;
  readonly due: DueWork;
  readonly isPaused: boolean;
  readonly agent: ProcessIdentity | null;
  readonly keeper: ProcessIdentity | null;
  readonly engine: ProcessIdentity | null;
  readonly applier: ProcessIdentity | null;
}

export function newInstanceRecord(
  fixed: Pick<
    InstanceRecord,
    "id" | "source" | "sourceInode" | "replica" | "shmDir" | "workers" | "bootId"
  >,
): InstanceRecord {
  return {
    version: VERSION,
    ...fixed,
    due: "mirror",
    isPaused: false,
    agent: null,
    keeper: null,
    engine: null,
    applier: null,
  };
}

/** Undefined for what no Standin of this version wrote. */
export function parseInstanceRecord(value: unknown): InstanceRecord | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const record = value as Partial<InstanceRecord>;
  if (record.version !== VERSION) return undefined;
  const texts = [
    record.id,
    record.source,
    record.replica,
    record.shmDir,
    record.bootId,
    record.due,
  ];
  if (texts.some((text) => typeof text !== "string")) return undefined;
  if (typeof record.sourceInode !== "number" || typeof record.workers !== "number")
    return undefined;
  return value as InstanceRecord;
}
