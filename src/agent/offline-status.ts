/**
 * The status of an instance whose agent does not run: what can be told from its records and its
 * ring.
 */

import { Ring } from "../journal/ring.ts";
import { existsSync } from "../platform/files.ts";
import { isAlive, type ProcessIdentity, residentBytes } from "../platform/processes.ts";
import { isStandinMount } from "./capture-supervisor.ts";
import type { InstanceRecord } from "./instance-record.ts";
import type { InstanceStatus, ProcessRole, ProcessStatus } from "./instance-status.ts";
import { RingGauge, type RingSample } from "./ring-gauge.ts";
import { currentBootId, type StateDirectory } from "./state-directory.ts";

/** Undefined when the folder holds no record of an instance. */
export function offlineStatus(state: StateDirectory): InstanceStatus | undefined {
  const record = state.loadRecord();
  if (record === undefined) return undefined;
  const isThisBoot = record.bootId === currentBootId();
  const isMounted = isThisBoot && isStandinMount(record.source);
  const sample = isThisBoot ? sampleOf(record) : undefined;
  const message = isMounted
    ? "the agent does not run: nothing watches over the other processes; start standin local again"
    : "the instance is stopped: changes are not captured";
  const none = { ops: 0, bytes: 0 };
  return {
    id: record.id,
    stateDirectory: state.path,
    source: record.source,
    replica: record.replica,
    state: isMounted ? "error" : "stopped",
    protected: false,
    reasons: [{ code: isMounted ? "AGENT_DOWN" : "STOPPED", message }],
    excluded: [],
    processes: processesOf(record),
    lsn: sample?.head ?? 0,
    appliedLsn: sample?.applied ?? 0,
    lag: {
      ops: sample === undefined ? 0 : sample.head - sample.applied,
      bytes: sample?.bytesPending ?? 0,
      seconds: 0,
      p50Seconds: 0,
      p99Seconds: 0,
      maxSeconds: 0,
    },
    rates: {
      capturedOpsPerSecond: 0,
      capturedBytesPerSecond: 0,
      appliedOpsPerSecond: 0,
      appliedBytesPerSecond: 0,
    },
    queue: {
      bytes: sample?.bytesPending ?? 0,
      capacityBytes: sample?.capacityBytes ?? 0,
      fill: sample?.fill ?? 0,
      gaps: sample?.gaps ?? 0,
      opsLost: sample?.opsLost ?? 0,
    },
    totals: none,
    progress: null,
    uptimeSeconds: 0,
  };
}

function sampleOf(record: InstanceRecord): RingSample | undefined {
  const path = `${record.shmDir}/ring`;
  if (!existsSync(path)) return undefined;
  try {
    return new RingGauge(Ring.open(path)).sample();
  } catch {
    return undefined; // being made, or of another version
  }
}

function processesOf(record: InstanceRecord): ProcessStatus[] {
  const known: [ProcessRole, ProcessIdentity | null][] = [
    ["agent", record.agent],
    ["keeper", record.keeper],
    ["engine", record.engine],
    ["applier", record.applier],
  ];
  return known.flatMap(([role, process]) => {
    if (process === null || !isAlive(process)) return [];
    const { pid } = process;
    return [{ role, pid, memoryBytes: residentBytes(pid), restarts: 0 }];
  });
}
