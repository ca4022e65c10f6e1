import { assert } from "./assert.ts";
import { StandinError } from "./errors.ts";

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const;

/**
 * Multipliers as in GNU coreutils, since administrators know them from dd, du and split:
 * `K` and `KiB` are 1024 bytes, `KB` is 1000. Looked up in upper case.
 */
const BYTES_BY_UNIT: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["B", 1],
  ...["K", "M", "G", "T", "P"].flatMap((prefix, index): [string, number][] => [
    [prefix, 1024 ** (index + 1)],
    [`${prefix}IB`, 1024 ** (index + 1)],
    [`${prefix}B`, 1000 ** (index + 1)],
  ]),
]);

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const MS_BY_UNIT: ReadonlyMap<string, number> = new Map([
  ["ms", 1],
  ["s", SECOND_MS],
  ["m", MINUTE_MS],
  ["min", MINUTE_MS],
  ["h", HOUR_MS],
  ["d", DAY_MS],
  ["w", 7 * DAY_MS],
]);

/** Formats a byte count for people, with three significant digits or more: `0 B`, `1.5 MiB`. */
export function formatBytes(bytes: number | bigint): string {
  let value = Number(bytes);
  assert(Number.isFinite(value), "formatBytes: the count is finite");
  const sign = value < 0 ? "-" : "";
  value = Math.abs(value);
  let unitIndex = 0;
  while (unitIndex < BYTE_UNITS.length - 1 && value >= roundsUpTo1024(unitIndex)) {
    value /= 1024;
    unitIndex++;
  }
  return `${sign}${trimmed(value, unitIndex)} ${BYTE_UNITS[unitIndex]}`;
}

/** Where a value of this unit would be printed as "1024", so that the next unit must take over. */
function roundsUpTo1024(unitIndex: number): number {
  return unitIndex === 0 ? 1024 : 1023.5;
}

/** Whole bytes; one decimal below 10 and whole numbers above 100, without a trailing `.0`. */
function trimmed(value: number, unitIndex: number): string {
  if (unitIndex === 0) return String(Math.round(value));
  const decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return String(Number(value.toFixed(decimals)));
}

/**
 * Formats a duration for people by its two largest units: `850 ms`, `12.3 s`, `3m 05s`, `2h 00m`,
 * `3d 04h`. Cuts off rather than rounds up, so that a deadline is never shown as reached before
 * it is.
 */
export function formatDurationMs(durationMs: number): string {
  assert(Number.isFinite(durationMs), "formatDurationMs: the duration is finite");
  if (durationMs < 0) return `-${formatDurationMs(-durationMs)}`;
  if (durationMs < SECOND_MS) return `${Math.floor(durationMs)} ms`;
  if (durationMs < MINUTE_MS) return `${Math.floor(durationMs / 100) / 10} s`;
  if (durationMs < HOUR_MS) return twoUnits(durationMs, [MINUTE_MS, "m"], [SECOND_MS, "s"]);
  if (durationMs < DAY_MS) return twoUnits(durationMs, [HOUR_MS, "h"], [MINUTE_MS, "m"]);
  return twoUnits(durationMs, [DAY_MS, "d"], [HOUR_MS, "h"]);
}

type UnitMs = readonly [sizeMs: number, name: string];

function twoUnits(durationMs: number, large: UnitMs, small: UnitMs): string {
  const largeCount = Math.floor(durationMs / large[0]);
  const smallCount = Math.floor((durationMs % large[0]) / small[0]);
  return `${largeCount}${large[1]} ${String(smallCount).padStart(2, "0")}${small[1]}`;
}

/**
 * Parses a size such as `4096`, `64K`, `1.5 GiB` or `500 MB` into whole bytes.
 *
 * @throws {StandinError} `INVALID_SIZE`
 */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?) ?([A-Za-z]*)$/.exec(text.trim());
  const unitBytes = BYTES_BY_UNIT.get(match?.[2]?.toUpperCase() ?? "?");
  const bytes = Number(match?.[1]) * (unitBytes ?? Number.NaN);
  if (!Number.isSafeInteger(Math.round(bytes))) {
    throw new StandinError("INVALID_SIZE", `not a size: "${text}"`, {
      hint: "Write a number and a unit, such as 512M, 1.5GiB or 500MB (K = KiB = 1024, KB = 1000).",
    });
  }
  return Math.round(bytes);
}

const BITS_BY_UNIT: ReadonlyMap<string, number> = new Map([
  ["bit", 1],
  ["kbit", 1000],
  ["mbit", 1000 ** 2],
  ["gbit", 1000 ** 3],
]);

/**
 * Parses a rate such as `20M`, `2MB/s` or `100Mbit/s` into whole bytes a second.
 *
 * @throws {StandinError} `INVALID_RATE`
 */
export function parseRate(text: string): number {
  const amount = text.trim().replace(/\/s$/, "");
  const bits = /^(\d+(?:\.\d+)?) ?([kmg]?bit)$/i.exec(amount);
  const bitsByUnit = BITS_BY_UNIT.get(bits?.[2]?.toLowerCase() ?? "");
  if (bitsByUnit !== undefined) return Math.round((Number(bits?.[1]) * bitsByUnit) / 8);
  try {
    return parseSize(amount);
  } catch (cause) {
    throw new StandinError("INVALID_RATE", `not a rate: "${text}"`, {
      hint: "Write a number and a unit, such as 20M, 2MB/s or 100Mbit/s (K = 1024, KB = 1000).",
      cause,
    });
  }
}

const DECIMAL_UNITS = ["KB", "MB", "GB", "TB"] as const;

/** Formats bytes a second for people, in units in which it is short: `2 MB/s`, `20 MiB/s`. */
export function formatRate(bytesPerSecond: number): string {
  const binary = `${formatBytes(bytesPerSecond)}/s`;
  if (bytesPerSecond % 1000 !== 0) return binary;
  let value = bytesPerSecond / 1000;
  let unitIndex = 0;
  while (unitIndex < DECIMAL_UNITS.length - 1 && value >= 1000) {
    value /= 1000;
    unitIndex++;
  }
  const decimal = `${Number(value.toFixed(3))} ${DECIMAL_UNITS[unitIndex]}/s`;
  return decimal.length < binary.length ? decimal : binary;
}

/**
 * Parses a duration such as `500ms`, `30s`, `1h30m` or `2d 12h` into whole milliseconds. A number
 * without a unit is refused, because half of its readers would take it for seconds; only `0` has
 * none.
 *
 * @throws {StandinError} `INVALID_DURATION`
 */
export function parseDuration(text: string): number {
  const parts = text.trim().match(/\d+(?:\.\d+)? ?[a-z]+/g) ?? [];
  const isWhole = parts.join("") === text.trim().replaceAll(/(?<=[a-z])\s+/g, "");
  const durationMs = text.trim() === "0" ? 0 : sumOfParts(parts);
  const isKnown = text.trim() === "0" || (isWhole && parts.length > 0);
  if (!isKnown || !Number.isSafeInteger(durationMs)) {
    throw new StandinError("INVALID_DURATION", `not a duration: "${text}"`, {
      hint: "Write numbers with units ms, s, m, h, d or w, such as 500ms, 30s or 1h30m.",
    });
  }
  return durationMs;
}

function sumOfParts(parts: readonly string[]): number {
  let sumMs = 0;
  for (const part of parts) {
    const unitMs = MS_BY_UNIT.get(part.replace(/^[\d.]+ ?/, ""));
    sumMs += Number.parseFloat(part) * (unitMs ?? Number.NaN);
  }
  return Math.round(sumMs);
}
