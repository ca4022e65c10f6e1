import assert from "node:assert/strict";
import { test } from "node:test";

import { formatWeekMinute, parseLimit, WEEK_MINUTES, WeeklySchedule } from "./weekly-schedule.ts";

const MON = 0;
const FRI = 4;
const SAT = 5;
const SUN = 6;

function at(day: number, time: string): number {
  const [hours = 0, minutes = 0] = time.split(":").map(Number);
  return (day * 24 + hours) * 60 + minutes;
}

/** The limit at a moment; undefined between windows. */
function limit(schedule: WeeklySchedule, day: number, time: string): number | null | undefined {
  return schedule.windowAt(at(day, time))?.bytesPerSecond;
}

test("a window holds on its days, from its first minute up to its last", () => {
  const schedule = WeeklySchedule.parse(["mon-fri 08:00-18:00 2MB/s"]);
  assert.equal(limit(schedule, MON, "7:59"), undefined);
  assert.equal(limit(schedule, MON, "8:00"), 2_000_000);
  assert.equal(limit(schedule, FRI, "17:59"), 2_000_000);
  assert.equal(limit(schedule, FRI, "18:00"), undefined);
  assert.equal(limit(schedule, SAT, "12:00"), undefined);
});

test("windows of several days, of whole days, and without a limit", () => {
  const schedule = WeeklySchedule.parse(["sat,sun 00:00-24:00 none", "Mon,Wed-Fri 22:00-24:00 1M"]);
  assert.equal(limit(schedule, SAT, "0:00"), null);
  assert.equal(limit(schedule, SUN, "23:59"), null);
  assert.equal(limit(schedule, 1, "23:00"), undefined, "not on Tuesdays");
  assert.equal(limit(schedule, 3, "23:59"), 1 << 20);
  const daily = WeeklySchedule.parse(["daily 00:00-24:00 1M"]);
  for (let minute = 0; minute < WEEK_MINUTES; minute++) assert.ok(daily.windowAt(minute));
});

test("a window that spans midnight goes on into the next day", () => {
  const schedule = WeeklySchedule.parse(["fri 22:00-06:00 1M"]);
  assert.equal(limit(schedule, FRI, "5:00"), undefined, "that is Thursday's night");
  assert.equal(limit(schedule, FRI, "23:59"), 1 << 20);
  assert.equal(limit(schedule, SAT, "5:59"), 1 << 20);
  assert.equal(limit(schedule, SAT, "6:00"), undefined);
});

test("the week goes on from Sunday to Monday", () => {
  const schedule = WeeklySchedule.parse(["sun 22:00-06:00 1M", "sat-mon 12:00-13:00 2M"]);
  assert.equal(limit(schedule, SUN, "23:59"), 1 << 20);
  assert.equal(limit(schedule, MON, "0:00"), 1 << 20);
  assert.equal(limit(schedule, MON, "6:00"), undefined);
  for (const day of [SAT, SUN, MON]) assert.equal(limit(schedule, day, "12:00"), 2 << 20);
  assert.equal(limit(schedule, FRI, "12:00"), undefined);
});

test("windows that overlap are refused, and named", () => {
  const overlapping: [string[], RegExp][] = [
    [
      ["mon-fri 08:00-18:00 2MB/s", "fri 17:00-20:00 1M"],
      /"mon-fri 08:00-18:00 2MB\/s" and "fri 17:00-20:00 1M" overlap, on Fri 17:00/,
    ],
    [["sun 22:00-06:00 1M", "mon 05:00-07:00 2M"], /overlap, on Mon 05:00/],
    [["daily 20:00-19:00 1M", "sun 18:30-20:00 2M"], /overlap, on Sun 18:30/],
    [["sat 10:00-11:00 1M", "sat 10:00-11:00 1M"], /overlap/],
  ];
  for (const [texts, message] of overlapping) {
    assert.throws(() => WeeklySchedule.parse(texts), { code: "INVALID_SCHEDULE", message });
  }
  WeeklySchedule.parse(["mon 08:00-10:00 1M", "mon 10:00-12:00 2M", "sun 22:00-08:00 3M"]);
});

test("what is no window is refused with what to write instead", () => {
  const wrong: [string, RegExp][] = [
    ["", /no window/],
    ["mon-fri", /no window/],
    ["mon-fri 08:00 2MB/s", /no window/],
    ["monday 08:00-09:00 2MB/s", /"monday" is no day/],
    ["mon-tue-wed 08:00-09:00 2MB/s", /no day/],
    ["mon, 08:00-09:00 2MB/s", /"" is no day/],
    ["mon 8-18 2MB/s", /"8" is no time/],
    ["mon 08:60-18:00 2MB/s", /"08:60" is no time/],
    ["mon 08:00-24:01 2MB/s", /"24:01" is no time/],
    ["mon 24:00-08:00 2MB/s", /24:00 begins no window/],
    ["mon 08:00-08:00 2MB/s", /is empty/],
    ["mon 08:00-18:00 fast", /not a rate: "fast"/],
    ["mon 08:00-18:00 0", /too slow/],
  ];
  for (const [text, message] of wrong) {
    const check = (error: unknown) => {
      const {
        code,
        hint,
        message: found,
      } = error as { code: string; hint: string; message: string };
      assert.match(found, message);
      assert.equal(code, "INVALID_SCHEDULE");
      assert.match(hint, /^[A-Z].*\.$/);
      return true;
    };
    assert.throws(() => WeeklySchedule.parse([text]), check, text);
  }
  const many = Array.from({ length: 101 }, (_, i) => {
    const minute = (count: number) =>
      `${Math.floor(count / 60)}:${String(count % 60).padStart(2, "0")}`;
    return `mon ${minute(i)}-${minute(i + 1)} 1M`;
  });
  assert.throws(() => WeeklySchedule.parse(many), /101 windows are too many/);
});

test("a limit is a rate or none", () => {
  assert.equal(parseLimit("None"), null);
  assert.equal(parseLimit("1K"), 1024);
  assert.throws(() => parseLimit("1000"), { code: "INVALID_RATE" });
});

test("a minute of the week is shown with its day", () => {
  assert.equal(formatWeekMinute(at(FRI, "8:05")), "Fri 08:05");
  assert.equal(formatWeekMinute(0), "Mon 00:00");
});
