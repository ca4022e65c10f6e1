/** What a load is run against: a folder, and what is known of the mount that serves it. */
import type { LagWatch } from "./lag-watch.ts";
import { readMountTable, mountHolding } from "../../src/platform/mount-table.ts";

/** `bare`: the reference. `own`: Standin. `peer`: what it is compared with. */
export type TargetKind = "bare" | "own" | "peer";

/** What a target counted since it was started, which no run should change. */
export interface Health {
  readonly gaps: number;
  readonly restarts: number;
}

export interface Target {
  readonly name: string;
  readonly kind: TargetKind;
  readonly folder: string;
  /** Id of the mount that holds the folder, as it was at the start. */
  readonly mountId: number;
  /** Until nothing of an earlier run goes on that would disturb the next one. */
  settle(): Promise<void>;
  health(): Promise<Health>;
  /** How far the copy is behind, from now on; where there is a copy. */
  watchLag?(): LagWatch;
}

export function mountIdOf(folder: string): number {
  return mountHolding(readMountTable(), folder)?.id ?? -1;
}

/**
 * A mount that is gone looks like a fast plain folder.
 *
 * @throws when the folder is not on the mount that it was on at the start.
 */
export function checkMount({ name, folder, mountId }: Target): void {
  if (mountIdOf(folder) !== mountId) throw new Error(`${name}: the mount at ${folder} is gone`);
}

export const HEALTHY: Health = { gaps: 0, restarts: 0 };

/** A folder that nothing has to be done for. */
export function plainTarget(name: string, kind: TargetKind, folder: string): Target {
  return {
    name,
    kind,
    folder,
    mountId: mountIdOf(folder),
    settle: async () => {},
    health: async () => HEALTHY,
  };
}
