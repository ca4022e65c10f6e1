/** What is to be said of a target besides its place in the table, in words. */
import type { LimitStatus, OnwardStatus, TargetStatus } from "../agent/jobs/job-status.ts";
import { formatRate } from "../base/units.ts";
import type { UnknownOwners } from "../protocol/stream-messages.ts";
import { localWeekMinute } from "../platform/local-time.ts";
import { formatWeekMinute } from "../replication/weekly-schedule.ts";

/** The way to it, the limit that holds now, owners that it does not know. */
export function renderLink({ limit, via, through, unknownOwners }: TargetStatus): string[] {
  const isLimited = limit.bytesPerSecond !== null || limit.schedule.length > 0;
  return [
    ...(through === null ? [] : [`through ${through}, which sends it on`]),
    ...(isLimited ? [renderLimit(limit)] : []),
    ...(via === null ? [] : [`connected from ${via}`]),
    ...(unknownOwners.count === 0 ? [] : [renderUnknownOwners(unknownOwners)]),
  ];
}

export function renderUnknownOwners({ count, names }: UnknownOwners): string {
  const more = count > names.length ? ", …" : "";
  const who =
    count === 1 ? "1 owner is unknown and keeps its" : `${count} owners are unknown and keep their`;
  return `${who} number: ${names.join(", ")}${more}`;
}

export function renderOnward({ agent, isConnected, why, ...at }: OnwardStatus): string {
  if (isConnected) return `sent on to ${agent}, which has applied up to LSN ${at.appliedLsn}`;
  return `not sent on to ${agent}: ${why ?? "not connected"}`;
}

/** `at most 2 MB/s until Fri 18:00`, in local time. */
export function renderLimit({ bytesPerSecond, until }: LimitStatus): string {
  const limit = bytesPerSecond === null ? "no limit" : `at most ${formatRate(bytesPerSecond)}`;
  if (until === null) return limit;
  return `${limit} until ${formatWeekMinute(localWeekMinute(Date.parse(until)))}`;
}
