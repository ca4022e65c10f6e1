/** All checks before a folder is mounted over, in the order in which their findings help most. */
import type { Check, Finding, PreflightPlan, Surroundings } from "./check.ts";
import { fileHandlesCheck } from "./file-handles.ts";
import { foldersApartCheck } from "./folders-apart.ts";
import { fuseDeviceCheck } from "./fuse-device.ts";
import { kernelResendCheck } from "./kernel-resend.ts";
import { nestedMountsCheck } from "./nested-mounts.ts";
import { openFilesCheck } from "./open-files.ts";
import { otherInstancesCheck } from "./other-instances.ts";
import { privilegesCheck } from "./privileges.ts";
import { replicaSpaceCheck } from "./replica-space.ts";
import { siblingsApartCheck } from "./siblings-apart.ts";
import { sourceReadableCheck } from "./source-readable.ts";

export const CHECKS: readonly Check[] = [
  privilegesCheck,
  fuseDeviceCheck,
  sourceReadableCheck,
  otherInstancesCheck,
  foldersApartCheck,
  siblingsApartCheck,
  fileHandlesCheck,
  openFilesCheck,
  nestedMountsCheck,
  kernelResendCheck,
  replicaSpaceCheck,
];

/** Where the replica is on another server, which looks at its own disk. */
export const SOURCE_CHECKS: readonly Check[] = CHECKS.filter((check) => {
  return check !== replicaSpaceCheck;
});

/**
 * Every warning found before the first error, and that error: what comes after may only be its
 * consequence.
 */
export function preflight(
  plan: PreflightPlan,
  surroundings: Surroundings,
  checks: readonly Check[] = CHECKS,
): Finding[] {
  const findings: Finding[] = [];
  for (const check of checks) {
    findings.push(...check.run(plan, surroundings));
    if (findings.some(({ level }) => level === "error")) break;
  }
  return findings;
}
