/**
 * Decides state and protection from the facts. Pure, and the only place where "protected" is said.
 */
import type { CopyWork } from "./copy-supervisor.ts";
import type { DueWork } from "./instance-record.ts";
import type { InstanceState, StatusReason } from "./instance-status.ts";

export interface ProtectionFacts {
  readonly isMounted: boolean;
  readonly isServing: boolean;
  /** The engine could not live and the folder was given back unprotected. */
  readonly isBroken: boolean;
  readonly isKeeperAlive: boolean;
  readonly isApplierAlive: boolean;
  /** How the applier last ended, while none has lived well since. */
  readonly applierDeath: string | undefined;
  readonly recording: "off" | "on" | "gap";
  readonly opsLost: number;
  readonly due: DueWork;
  readonly work: CopyWork | undefined;
  readonly isPaused: boolean;
  readonly isReplicaFull: boolean;
  readonly problem: string | undefined;
  /** Files that were found different and are not yet copied again. */
  readonly pendingResyncs: number;
  /** How long the applier has said nothing. */
  readonly silentMs: number;
  /** Nothing was applied for so long although there was something to apply. */
  readonly stalledMs: number;
  readonly isStopping: boolean;
}

/** The applier reports several times a second. */
const SILENCE_MS_MAX = 10_000;

/** An applier that does nothing for this long is not just waiting for a slow disk. */
const STALL_MS_MAX = 15_000;

export function reasonsAgainst(facts: ProtectionFacts): StatusReason[] {
  return [...captureReasons(facts), ...copyReasons(facts), ...applierReasons(facts)];
}

/** What the capture of a folder needs; the same for `standin local` and for jobs. */
export type CaptureFacts = Pick<
  ProtectionFacts,
  "isStopping" | "isBroken" | "isMounted" | "isServing" | "isKeeperAlive"
>;

export function captureReasons(facts: CaptureFacts): StatusReason[] {
  const reasons: StatusReason[] = [];
  const add = (code: string, message: string) => reasons.push({ code, message });
  if (facts.isStopping) add("STOPPING", "the instance is being stopped");
  if (facts.isBroken) {
    add("ENGINE_BROKEN", "the capture engine cannot run; the folder is in use without it");
  } else if (!facts.isMounted) {
    add("MOUNT_LOST", "the folder is not mounted: changes are not captured");
  } else if (!facts.isServing) {
    add("ENGINE_DOWN", "the capture engine is being started; applications wait");
  }
  if (!facts.isBroken && facts.isMounted && !facts.isKeeperAlive) {
    add(
      "KEEPER_DOWN",
      "the keeper is being started; until then the death of the engine loses the mount",
    );
  }
  return reasons;
}

function copyReasons(facts: ProtectionFacts): StatusReason[] {
  const reasons: StatusReason[] = [];
  const add = (code: string, message: string) => reasons.push({ code, message });
  if (facts.due === "mirror") add("NOT_MIRRORED", "the first full copy is not complete");
  if (facts.due === "resync") {
    add("RESYNC_DUE", "changes may have been missed; the copy is compared and repaired");
  }
  if (facts.recording === "gap") {
    add("GAP", `the queue was full: ${facts.opsLost} changes were not captured, a resync follows`);
  }
  if (facts.recording === "off" && facts.due === "none") {
    add("NOT_RECORDING", "changes are not captured yet");
  }
  return reasons;
}

function applierReasons(facts: ProtectionFacts): StatusReason[] {
  const reasons: StatusReason[] = [];
  const add = (code: string, message: string) => reasons.push({ code, message });
  if (facts.isPaused) add("PAUSED", "applying is paused: changes wait in memory");
  if (facts.isReplicaFull)
    add("REPLICA_FULL", "the replica's disk is full: changes wait in memory");
  reasons.push(...applierHealthReasons(facts));
  if (facts.pendingResyncs > 0 && facts.due === "none") {
    add("FILES_DIFFER", `${facts.pendingResyncs} files differ and are being copied again`);
  }
  if (!facts.isPaused && !facts.isReplicaFull) reasons.push(...stallReasons(facts.stalledMs));
  if (facts.problem !== undefined) add("PROBLEM", facts.problem);
  return reasons;
}

/** For who knows of nothing that ops would wait for. */
export function stallReasons(stalledMs: number): StatusReason[] {
  if (stalledMs <= STALL_MS_MAX) return [];
  const message = `nothing was applied for ${Math.round(stalledMs / 1000)} s`;
  return [{ code: "STALLED", message }];
}

/** Whether the applier lives and speaks. */
export function applierHealthReasons(
  facts: Pick<ProtectionFacts, "isApplierAlive" | "applierDeath" | "silentMs">,
): StatusReason[] {
  const reasons: StatusReason[] = [];
  const add = (code: string, message: string) => reasons.push({ code, message });
  if (!facts.isApplierAlive) {
    const how = facts.applierDeath === undefined ? "" : ` (the last one: ${facts.applierDeath})`;
    add("APPLIER_DOWN", `the applier is being started${how}`);
  } else if (facts.applierDeath !== undefined) {
    add("APPLIER_STARTING", `the applier was started again (the last one: ${facts.applierDeath})`);
  }
  if (facts.isApplierAlive && facts.silentMs > SILENCE_MS_MAX) {
    add(
      "APPLIER_SILENT",
      `the applier has not answered for ${Math.round(facts.silentMs / 1000)} s`,
    );
  }
  return reasons;
}

export function stateOf(facts: ProtectionFacts): InstanceState {
  if (facts.isBroken || (!facts.isMounted && !facts.isStopping)) return "error";
  if (facts.isPaused) return "paused";
  if (facts.work === "verify") return "verifying";
  if (facts.due === "mirror") return "mirroring";
  if (facts.due === "resync" || facts.recording === "gap") return "resyncing";
  if (facts.problem !== undefined && !facts.isApplierAlive) return "error";
  return "replicating";
}
