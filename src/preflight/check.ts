/** What pre-flight looks at before a folder is mounted over: one small file a check. */

import type { FileIdentity, Space } from "../platform/files.ts";
import type { MountEntry } from "../platform/mount-table.ts";
import type { MappedFile, OpenFile } from "../platform/open-files.ts";

/** What is to be started. Paths are real and absolute. */
export interface PreflightPlan {
  readonly source: string;
  readonly replica: string;
  readonly allowOpenFiles: boolean;
  /** The other folders that are protected together with SOURCE. */
  readonly siblings?: readonly string[];
}

export interface OtherInstance {
  readonly source: string;
  /** Null: on other servers. */
  readonly replica: string | null;
  readonly stateDirectory: string;
  readonly pid: number;
}

/** The machine, as checks see it; a test hands in another one. */
export interface Surroundings {
  /** Effective capabilities of this process, one bit each (capabilities(7)). */
  readonly capabilities: bigint;
  readonly hasFuseDevice: boolean;
  readonly kernelRelease: string;
  readonly mountTable: readonly MountEntry[];
  readonly otherInstances: readonly OtherInstance[];
  openFiles(): Iterable<OpenFile>;
  sharedWritableMaps(): Iterable<MappedFile>;
  /** Undefined when there is no such path. */
  identity(path: string): FileIdentity | undefined;
  /** What keeps the folder from being listed; undefined when nothing does. */
  unreadable(path: string): string | undefined;
  supportsFileHandles(path: string): boolean;
  space(path: string): Space;
}

export interface Finding {
  /** `error` refuses the start; `warning` is said, and the start goes on. */
  readonly level: "error" | "warning";
  /** Stable, in CONSTANT_CASE. */
  readonly code: string;
  readonly message: string;
  /** What to do about it. */
  readonly hint: string;
}

export interface Check {
  readonly id: string;
  /** What it looks at, for documentation. */
  readonly reads: string;
  /** Nothing: all is well. */
  run(plan: PreflightPlan, surroundings: Surroundings): readonly Finding[];
}
