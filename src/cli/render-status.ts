/** Status as text. Pure. */

import type { InstanceStatus, ProcessStatus, ProgressStatus } from "../agent/instance-status.ts";
import { formatBytes, formatDurationMs } from "../base/units.ts";

/** The whole status, for `standin status`. */
export function renderStatus(status: InstanceStatus): string {
  const { lag, rates, queue } = status;
  const rows: [string, string][] = [
    ["state", status.state],
    ["protected", status.protected ? "yes" : "NO"],
    ...status.reasons.map(({ message }): [string, string] => ["", `- ${message}`]),
    ["source", status.source],
    ["replica", status.replica],
    ...progressRows(status.progress),
    ["position", `LSN ${status.lsn}, applied ${status.appliedLsn}`],
    ["lag", `${count(lag.ops)} ops, ${formatBytes(lag.bytes)}, ${seconds(lag.seconds)}`],
    ["", lagQuantiles(lag)],
    ["captured", rate(rates.capturedOpsPerSecond, rates.capturedBytesPerSecond)],
    ["applied", rate(rates.appliedOpsPerSecond, rates.appliedBytesPerSecond)],
    ["queue", queueSize(queue)],
    ...(queue.gaps === 0
      ? []
      : [["", `was full ${queue.gaps} times since the start`] as [string, string]]),
    ...status.excluded.map(({ message }, index): [string, string] => {
      return [index === 0 ? "not copied" : "", message];
    }),
    ...status.processes.map((process, index): [string, string] => {
      return [index === 0 ? "processes" : "", renderProcess(process)];
    }),
    ["state folder", status.stateDirectory],
  ];
  return rows.map(([label, value]) => `${label.padEnd(13)}${value}`.trimEnd()).join("\n");
}

function lagQuantiles(lag: InstanceStatus["lag"]): string {
  const { p50Seconds, p99Seconds, maxSeconds } = lag;
  return `p50 ${seconds(p50Seconds)}, p99 ${seconds(p99Seconds)}, max ${seconds(maxSeconds)}`;
}

function queueSize({ bytes, capacityBytes, fill }: InstanceStatus["queue"]): string {
  return `${formatBytes(bytes)} of ${formatBytes(capacityBytes)}, ${percent(fill)} full`;
}

function progressRows(progress: ProgressStatus | null): [string, string][] {
  return progress === null ? [] : [["progress", renderProgress(progress)]];
}

/** What is done of a mirror, resync or verify, in one line. */
export function renderProgress(progress: ProgressStatus): string {
  const { work, filesDone, filesTotal, bytesDone, bytesTotal, etaSeconds } = progress;
  const eta = etaSeconds === null ? "" : `, ${formatDurationMs(etaSeconds * 1000)} left`;
  const files = `${count(filesDone)} of ${count(filesTotal)} files`;
  const bytes = `${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}`;
  return `${work} ${progress.percent.toFixed(1)} %: ${files}, ${bytes}${eta}`;
}

function renderProcess({ role, pid, memoryBytes, restarts }: ProcessStatus): string {
  const where = pid === null ? "is being started" : `pid ${pid}, ${formatBytes(memoryBytes)}`;
  const again = restarts === 0 ? "" : `, restarted ${restarts} times`;
  return `${role.padEnd(8)} ${where}${again}`;
}

/** The status in one line, for a running `standin local`. */
export function renderStatusLine(status: InstanceStatus): string {
  const { lag, rates } = status;
  const shield = status.protected
    ? "protected"
    : `NOT protected: ${status.reasons[0]?.message ?? "?"}`;
  return (
    `${status.state}, ${shield}; lag ${count(lag.ops)} ops, ${seconds(lag.seconds)}; ` +
    rate(rates.capturedOpsPerSecond, rates.capturedBytesPerSecond)
  );
}

const BAR_WIDTH = 24;

export function renderBar(progress: ProgressStatus): string {
  const filled = Math.round((progress.percent / 100) * BAR_WIDTH);
  return `[${"#".repeat(filled)}${"-".repeat(BAR_WIDTH - filled)}] ${renderProgress(progress)}`;
}

function rate(opsPerSecond: number, bytesPerSecond: number): string {
  return `${count(opsPerSecond)} ops/s, ${formatBytes(bytesPerSecond)}/s`;
}

function seconds(value: number): string {
  return formatDurationMs(value * 1000);
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** Groups of three digits, whatever the locale: `1 234 567`. */
function count(value: number): string {
  return String(Math.round(value)).replaceAll(/\B(?=(\d{3})+$)/g, " ");
}
