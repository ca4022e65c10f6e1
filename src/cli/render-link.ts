/** How a target is connected to, in words: the limit that holds now, and from which address. */
import type { LimitStatus, TargetStatus } from "../agent/jobs/job-status.ts";
import { formatRate } from "../base/units.ts";
import { localWeekMinute } from "../platform/local-time.ts";
import { formatWeekMinute } from "../replication/weekly-schedule.ts";

/** Undefined when there is nothing to say: no limit, no schedule, any address. */
export function renderLink({ agent, limit, via }: TargetStatus): string | undefined {
  const isLimited = limit.bytesPerSecond !== null || limit.schedule.length > 0;
  const parts = [
    ...(isLimited ? [renderLimit(limit)] : []),
    ...(via === null ? [] : [`connected from ${via}`]),
  ];
  return parts.length === 0 ? undefined : `${agent}: ${parts.join(", ")}`;
}

/** `at most 2 MB/s until Fri 18:00`, in local time. */
export function renderLimit({ bytesPerSecond, until }: LimitStatus): string {
  const limit = bytesPerSecond === null ? "no limit" : `at most ${formatRate(bytesPerSecond)}`;
  if (until === null) return limit;
  return `${limit} until ${formatWeekMinute(localWeekMinute(Date.parse(until)))}`;
}
