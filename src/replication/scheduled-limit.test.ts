import assert from "node:assert/strict";
import { test } from "node:test";

import { localWeekMinute } from "../platform/local-time.ts";
import { type LimitSettings, ScheduledLimit } from "./scheduled-limit.ts";

// Summer time begins on 2026-03-29 at 2:00 and ends on 2026-10-25 at 3:00, both Sundays.
process.env.TZ = "Europe/Berlin";

const M = 1 << 20;
const SECOND = 1000;
const HOUR = 3600 * SECOND;

/** Milliseconds since 1970 of a local time; where it is twice, the first one. */
function local(text: string): number {
  return new Date(text).getTime();
}

function limitOf(settings: LimitSettings): ScheduledLimit {
  return new ScheduledLimit(settings, localWeekMinute);
}

function until(schedule: string[], now: number, limitBytes: number | null = null) {
  const { bytesPerSecond, untilMs } = limitOf({ limitBytes, schedule }).state(now);
  return {
    bytesPerSecond,
    until: untilMs === null ? null : new Date(untilMs).toString().slice(0, 21),
  };
}

/** Bytes that are sent in `ms` by who sends whatever is allowed in frames of 64 KiB. */
function sentIn(limit: ScheduledLimit, fromMs: number, ms: number): number {
  const frame = 64 << 10;
  let sent = 0;
  for (let now = fromMs; now < fromMs + ms; now += 10) {
    while (limit.allowance(now, now, sent) > 0 && sent < 1 << 30) sent += frame;
  }
  return sent;
}

test("outside the windows the fixed limit holds, or none", () => {
  const schedule = ["mon-fri 08:00-18:00 2M"];
  const sunday = local("2026-06-07T12:00");
  const next = "Mon Jun 08 2026 08:00";
  assert.deepEqual(until(schedule, sunday), { bytesPerSecond: null, until: next });
  assert.deepEqual(until(schedule, sunday, M), { bytesPerSecond: M, until: next });
  const monday = local("2026-06-08T08:00:00.000");
  const evening = "Mon Jun 08 2026 18:00";
  assert.deepEqual(until(schedule, monday, M), { bytesPerSecond: 2 * M, until: evening });
});

test("a limit that never changes has no end", () => {
  assert.deepEqual(until([], 0, M), { bytesPerSecond: M, until: null });
  assert.equal(until(["daily 00:00-24:00 2M"], local("2026-06-07T12:00")).until, null);
  const same = ["mon 08:00-09:00 1M", "mon 09:00-10:00 1M"];
  const end = "Mon Jun 08 2026 10:00";
  assert.equal(until(same, local("2026-06-08T08:30"), 2 * M).until, end, "both are the same");
});

test("a window of one hour a week has its end in a week", () => {
  const schedule = ["wed 10:00-11:00 1M"];
  assert.equal(until(schedule, local("2026-06-10T11:00")).until, "Wed Jun 17 2026 10:00");
});

test("an hour that summer time takes away is not waited for", () => {
  const now = local("2026-03-29T00:30");
  const end = until(["sun 01:00-04:00 1M"], local("2026-03-29T01:30"));
  assert.deepEqual(end, { bytesPerSecond: M, until: "Sun Mar 29 2026 04:00" });
  assert.equal(local("2026-03-29T04:00") - local("2026-03-29T01:30"), 1.5 * HOUR);
  const skipped = until(["sun 02:00-03:00 1M"], now);
  assert.equal(skipped.until, "Sun Apr 05 2026 02:00", "this week there is no such hour");
});

test("an hour that comes twice when summer time ends is limited twice", () => {
  const limit = limitOf({ limitBytes: null, schedule: ["sun 02:00-03:00 1M"] });
  const first = local("2026-10-25T02:30");
  assert.equal(limit.state(first).bytesPerSecond, M);
  assert.equal(limit.state(first + HOUR).bytesPerSecond, M, "2:30 once more");
  assert.equal(limit.state(first).untilMs, first + 1.5 * HOUR);
  assert.equal(limit.state(first + 1.5 * HOUR).bytesPerSecond, null);
});

test("windows hold while bytes flow, and end", () => {
  const limit = limitOf({ limitBytes: null, schedule: ["mon 08:00-09:00 1M"] });
  const begin = local("2026-06-08T08:00");
  const within = sentIn(limit, begin, 10 * SECOND);
  assert.ok(within > 9 * M && within < 11 * M, `${within}`);
  assert.equal(limit.allowance(begin + HOUR, begin + HOUR, within), Number.POSITIVE_INFINITY);
});

test("what is changed holds at once", () => {
  const limit = limitOf({ limitBytes: M, schedule: [] });
  assert.ok(sentIn(limit, 0, SECOND) < 2 * M);
  limit.change({ limitBytes: null, schedule: [] });
  assert.equal(limit.allowance(SECOND, 0, 0), Number.POSITIVE_INFINITY);
  limit.change({ limitBytes: 2 * M, schedule: ["daily 00:00-12:00 1M"] });
  assert.deepEqual(limit.settings, { limitBytes: 2 * M, schedule: ["daily 00:00-12:00 1M"] });
  assert.equal(limit.state(local("2026-06-08T11:00")).bytesPerSecond, M);
  assert.throws(() => limit.change({ limitBytes: null, schedule: ["never"] }));
  assert.equal(limit.state(local("2026-06-08T11:00")).bytesPerSecond, M, "as before");
});

test("a clock that is set is believed within a second", () => {
  const limit = limitOf({ limitBytes: null, schedule: ["mon 08:00-09:00 1M"] });
  assert.equal(limit.allowance(0, local("2026-06-08T07:00"), 0), Number.POSITIVE_INFINITY);
  const set = local("2026-06-08T08:30");
  assert.ok(limit.allowance(SECOND, set, 0) < M);
});
