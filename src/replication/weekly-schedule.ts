/**
 * A week's bandwidth limits: windows of local time, each with a limit of its own. Pure. A window is
 * written as `mon-fri 08:00-18:00 2MB/s`: days (`mon`, `mon-fri`, `sat,sun`, `daily`), the times
 * between which it holds, and a rate or `none`. One that ends no later than it begins goes on into
 * the next day.
 */
import { StandinError } from "../base/errors.ts";
import { parseRate } from "../base/units.ts";

const DAY_NAMES = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;
const DAY_MINUTES = 24 * 60;
export const WEEK_MINUTES: number = DAY_NAMES.length * DAY_MINUTES;
const WINDOWS_MAX = 100;
/** Slower, and one large change would hold the stream up for hours. */
const BYTES_PER_SECOND_MIN = 1024;

const EXAMPLE = "Write days, times and a rate, such as 'mon-fri 08:00-18:00 2MB/s'";

/** Minutes of the week, Monday 00:00 being 0; `end` is not part of it. */
interface Span {
  readonly start: number;
  readonly end: number;
}

export interface ScheduleWindow {
  /** As it was written. */
  readonly text: string;
  /** Null: no limit. */
  readonly bytesPerSecond: number | null;
  readonly spans: readonly Span[];
}

/**
 * Reads a limit: bytes a second, or null for `none`. @throws {StandinError} `INVALID_RATE`
 */
export function parseLimit(text: string): number | null {
  if (text.trim().toLowerCase() === "none") return null;
  const bytesPerSecond = parseRate(text);
  if (isLimit(bytesPerSecond)) return bytesPerSecond;
  throw new StandinError("INVALID_RATE", `"${text}" is too slow`, {
    hint: "Give 1 KiB/s or more, or none for no limit.",
  });
}

export function isLimit(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= BYTES_PER_SECOND_MIN;
}

export class WeeklySchedule {
  readonly #windows: readonly ScheduleWindow[];

  private constructor(windows: readonly ScheduleWindow[]) {
    this.#windows = windows;
  }

  /** @throws {StandinError} `INVALID_SCHEDULE`, also when two windows overlap */
  static parse(texts: readonly string[]): WeeklySchedule {
    if (texts.length > WINDOWS_MAX) {
      throw invalid(`${texts.length} windows are too many`, `Give ${WINDOWS_MAX} at most.`);
    }
    const windows = texts.map(parseWindow);
    for (const [index, window] of windows.entries()) {
      for (const other of windows.slice(0, index)) refuseOverlap(other, window);
    }
    return new WeeklySchedule(windows);
  }

  get texts(): readonly string[] {
    return this.#windows.map(({ text }) => text);
  }

  /** The window that holds in this minute of the week; undefined between windows. */
  windowAt(weekMinute: number): ScheduleWindow | undefined {
    return this.#windows.find(({ spans }) => {
      return spans.some(({ start, end }) => weekMinute >= start && weekMinute < end);
    });
  }
}

/** A minute of the week for people: `Fri 18:00`. */
export function formatWeekMinute(weekMinute: number): string {
  const minute = weekMinute % DAY_MINUTES;
  const name = DAY_NAMES[Math.floor(weekMinute / DAY_MINUTES) % DAY_NAMES.length] ?? "";
  return `${name[0]?.toUpperCase()}${name.slice(1)} ${formatTime(minute)}`;
}

function formatTime(minute: number): string {
  const two = (count: number) => String(count).padStart(2, "0");
  return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
}

function parseWindow(text: string): ScheduleWindow {
  const match = /^(\S+)\s+(\S+)-(\S+)\s+(\S.*)$/.exec(text.trim());
  if (match === null) throw invalid(`"${text}" is no window of a schedule`, `${EXAMPLE}.`);
  const [, days = "", from = "", to = "", rate = ""] = match;
  const start = parseTime(from, text);
  const end = parseTime(to, text);
  if (start === DAY_MINUTES) throw invalid(`24:00 begins no window in "${text}"`, "Write 00:00.");
  if (start === end) {
    throw invalid(`the window "${text}" is empty`, "A whole day is 00:00-24:00.");
  }
  const length = end > start ? end - start : end + DAY_MINUTES - start;
  const spans = parseDays(days, text).flatMap((day) => {
    const first = day * DAY_MINUTES + start;
    return wrapped(first, first + length);
  });
  return { text: text.trim().replaceAll(/\s+/g, " "), bytesPerSecond: limitOf(rate, text), spans };
}

function limitOf(rate: string, text: string): number | null {
  try {
    return parseLimit(rate);
  } catch (error) {
    if (!(error instanceof StandinError)) throw error;
    throw invalid(`${error.message} in "${text}"`, error.hint ?? `${EXAMPLE}.`);
  }
}

/** What goes beyond Sunday is at the week's begin. */
function wrapped(start: number, end: number): Span[] {
  if (end <= WEEK_MINUTES) return [{ start, end }];
  return [
    { start, end: WEEK_MINUTES },
    { start: 0, end: end - WEEK_MINUTES },
  ];
}

function parseTime(time: string, text: string): number {
  const match = /^(\d{1,2}):(\d{2})$/.exec(time);
  const minute = Number(match?.[1]) * 60 + Number(match?.[2]);
  if (Number(match?.[2]) < 60 && minute <= DAY_MINUTES) return minute;
  throw invalid(`"${time}" is no time of day in "${text}"`, "Write times from 00:00 to 24:00.");
}

/** Days by number, each once. */
function parseDays(days: string, text: string): number[] {
  if (days.toLowerCase() === "daily") return [...DAY_NAMES.keys()];
  const found = new Set<number>();
  for (const part of days.split(",")) {
    const [first = "", last = first, ...rest] = part.split("-");
    if (rest.length > 0) throw unknownDay(part, text);
    const from = dayOf(first, text);
    const count = (dayOf(last, text) - from + DAY_NAMES.length) % DAY_NAMES.length;
    for (let i = 0; i <= count; i++) found.add((from + i) % DAY_NAMES.length);
  }
  return [...found];
}

function dayOf(name: string, text: string): number {
  const day = (DAY_NAMES as readonly string[]).indexOf(name.toLowerCase());
  if (day >= 0) return day;
  throw unknownDay(name, text);
}

function unknownDay(name: string, text: string): StandinError {
  const hint = `Days are ${DAY_NAMES.join(", ")}, ranges such as mon-fri, or daily.`;
  return invalid(`"${name}" is no day in "${text}"`, hint);
}

function refuseOverlap(one: ScheduleWindow, other: ScheduleWindow): void {
  for (const a of one.spans) {
    for (const b of other.spans) {
      const start = Math.max(a.start, b.start);
      if (start >= Math.min(a.end, b.end)) continue;
      const when = formatWeekMinute(start);
      throw invalid(
        `the windows "${one.text}" and "${other.text}" overlap, on ${when} for example`,
        "Give windows that do not overlap: in each minute one limit holds.",
      );
    }
  }
}

function invalid(message: string, hint: string): StandinError {
  return new StandinError("INVALID_SCHEDULE", message, { hint });
}
