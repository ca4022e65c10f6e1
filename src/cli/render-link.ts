/** What is to be said of a target besides its place in the table, in words. */
import type { LimitStatus, TargetStatus } from "../agent/jobs/job-status.ts";
import { formatRate } from "../base/units.ts";
import type { UnknownOwners } from "../protocol/stream-messages.ts";
import { localWeekMinute } from "../platform/local-time.ts";
import { formatWeekMinute } from "../replication/weekly-schedule.ts";

/** The limit that holds now, from which address it is connected, owners that it does not know. */
export function renderLink({ limit, via, unknownOwners }: TargetStatus): string[] {
  const isLimited = limit.bytesPerSecond !== null || limit.schedule.length > 0;
  return [
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

/** `at most 2 MB/s until Fri 18:00`, in local time. */
export function renderLimit({ bytesPerSecond, until }: LimitStatus): string {
  const limit = bytesPerSecond === null ? "no limit" : `at most ${formatRate(bytesPerSecond)}`;
  if (until === null) return limit;
  return `${limit} until ${formatWeekMinute(localWeekMinute(Date.parse(until)))}`;
}
