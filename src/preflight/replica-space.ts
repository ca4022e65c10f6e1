import { formatBytes } from "../base/units.ts";
import type { Check, Finding } from "./check.ts";

/**
 * A comparison of whole file systems: a warning, since the source may be a small part of its own.
 */
export const replicaSpaceCheck: Check = {
  id: "replica-space",
  reads: "statfs(2) of both file systems",
  run({ source, replica }, surroundings): Finding[] {
    const [from, to] = [surroundings.identity(source), surroundings.identity(replica)];
    if (from !== undefined && from.device === to?.device) return [];
    const { usedBytes } = surroundings.space(source);
    const { freeBytes } = surroundings.space(replica);
    if (freeBytes >= usedBytes) return [];
    return [
      {
        level: "warning",
        code: "LITTLE_SPACE",
        message:
          `the file system of REPLICA has ${formatBytes(freeBytes)} free, ` +
          `that of SOURCE uses ${formatBytes(usedBytes)}`,
        hint: "When the copy's disk is full, changes wait in memory; then a resync is needed.",
      },
    ];
  },
};
