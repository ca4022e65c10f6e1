import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import {
  formatBytes,
  formatDurationMs,
  formatRate,
  parseDuration,
  parseRate,
  parseSize,
} from "./units.ts";

test("formatBytes() chooses the unit that keeps the number short", () => {
  const cases: [number | bigint, string][] = [
    [0, "0 B"],
    [1, "1 B"],
    [1023, "1023 B"],
    [1024, "1 KiB"],
    [1536, "1.5 KiB"],
    [12_700, "12.4 KiB"],
    [1024 ** 2 - 1, "1 MiB"],
    [123_456_789, "118 MiB"],
    [10n ** 18n, "888 PiB"],
    [-2048, "-2 KiB"],
  ];
  for (const [bytes, expected] of cases) assert.equal(formatBytes(bytes), expected);
});

test("formatBytes() never prints 1024 of a unit that has a larger one", () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (bytes) => {
      assert.doesNotMatch(formatBytes(bytes), /^1024/);
    }),
  );
});

test("formatDurationMs() shows the two largest units", () => {
  const cases: [number, string][] = [
    [0, "0 ms"],
    [0.4, "0 ms"],
    [850, "850 ms"],
    [999.7, "999 ms"],
    [1000, "1 s"],
    [12_345, "12.3 s"],
    [59_999, "59.9 s"],
    [60_000, "1m 00s"],
    [185_000, "3m 05s"],
    [3_599_999, "59m 59s"],
    [2 * 3_600_000, "2h 00m"],
    [(3 * 24 + 4) * 3_600_000, "3d 04h"],
    [-1500, "-1.5 s"],
  ];
  for (const [durationMs, expected] of cases) assert.equal(formatDurationMs(durationMs), expected);
});

test("parseSize() reads units as GNU coreutils does", () => {
  const cases: [string, number][] = [
    ["0", 0],
    ["4096", 4096],
    ["4096B", 4096],
    ["64K", 65_536],
    ["64k", 65_536],
    ["64 KiB", 65_536],
    ["64kB", 64_000],
    ["1.5GiB", 1.5 * 1024 ** 3],
    [" 2T ", 2 * 1024 ** 4],
    ["500 MB", 500_000_000],
  ];
  for (const [text, expected] of cases) assert.equal(parseSize(text), expected, text);
});

test("parseSize() refuses what is not a size", () => {
  for (const text of ["", "K", "-1", "1 X", "1e3", "1,5G", "12 34", "9999999P", "1.K", "0x10"]) {
    assert.throws(() => parseSize(text), { code: "INVALID_SIZE" }, text);
  }
});

test("parseSize() reads back what formatBytes() prints, within its rounding", () => {
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 50 }), (bytes) => {
      const back = parseSize(formatBytes(bytes));
      assert.ok(Math.abs(back - bytes) <= bytes * 0.006);
    }),
  );
});

test("parseDuration() reads single and compound durations", () => {
  const cases: [string, number][] = [
    ["0", 0],
    ["500ms", 500],
    ["30s", 30_000],
    ["30 s", 30_000],
    ["1.5s", 1500],
    ["5m", 300_000],
    ["5min", 300_000],
    ["1h30m", 5_400_000],
    ["2d 12h", 60 * 3_600_000],
    ["1w", 7 * 24 * 3_600_000],
  ];
  for (const [text, expected] of cases) assert.equal(parseDuration(text), expected, text);
});

test("parseDuration() refuses a number without a unit, and nonsense", () => {
  for (const text of [
    "",
    "30",
    "30x",
    "s",
    "-5s",
    "1h30",
    "1h,30m",
    "h1",
    "1..5s",
    "99999999999w",
  ]) {
    assert.throws(() => parseDuration(text), { code: "INVALID_DURATION" }, text);
  }
});

test("parseRate() reads bytes a second, and bits as networks count them", () => {
  const cases: [string, number][] = [
    ["20M", 20 * 1024 ** 2],
    ["2MB/s", 2_000_000],
    [" 512 KiB/s ", 524_288],
    ["100Mbit/s", 12_500_000],
    ["1.5 gbit", 187_500_000],
    ["0", 0],
  ];
  for (const [text, expected] of cases) assert.equal(parseRate(text), expected, text);
  for (const text of ["", "fast", "/s", "2MB/h", "-1M", "5 xbit", "1M/s/s"]) {
    assert.throws(() => parseRate(text), { code: "INVALID_RATE" }, text);
  }
});

test("formatRate() says a rate as it was given", () => {
  const cases: [number, string][] = [
    [2_000_000, "2 MB/s"],
    [12_500_000, "12.5 MB/s"],
    [64_000, "64 KB/s"],
    [20 * 1024 ** 2, "20 MiB/s"],
    [1500, "1.46 KiB/s"],
    [3_000, "3 KB/s"],
    [5_000_000_000_000, "5 TB/s"],
  ];
  for (const [rate, expected] of cases) assert.equal(formatRate(rate), expected);
});
