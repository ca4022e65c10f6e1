import assert from "node:assert/strict";
import { test } from "node:test";

import { limitChangeOf, targetsOf } from "./target-settings.ts";

const WINDOW = "mon-fri 08:00-18:00 2MB/s";

test("targets of a job share limit and schedule, and have an address each", () => {
  const given = {
    targets: ["b", "c"],
    limitBytes: 4096,
    schedule: [WINDOW],
    vias: { c: "10.0.0.1" },
  };
  assert.deepEqual(targetsOf(given), [
    { agent: "b", limitBytes: 4096, schedule: [WINDOW], through: null, via: null },
    { agent: "c", limitBytes: 4096, schedule: [WINDOW], via: "10.0.0.1" },
  ]);
  assert.deepEqual(targetsOf({ targets: ["b"] }), [
    { agent: "b", limitBytes: null, schedule: [], through: null, via: null },
  ]);
});

test("a change says only what changes", () => {
  assert.deepEqual(limitChangeOf({ job: "mail" }), {});
  assert.deepEqual(limitChangeOf({ limitBytes: null }), { limitBytes: null });
  assert.deepEqual(limitChangeOf({ schedule: [] }), { schedule: [] });
});

test("what is no limit and no schedule is refused", () => {
  for (const limitBytes of [0, -1, 1.5, "1M", 1000]) {
    assert.throws(() => limitChangeOf({ limitBytes }), { code: "INVALID_JOB" });
  }
  for (const schedule of ["daily", [1]]) {
    assert.throws(() => limitChangeOf({ schedule }), { code: "INVALID_JOB" });
  }
  assert.throws(() => limitChangeOf({ schedule: ["daily"] }), { code: "INVALID_SCHEDULE" });
  assert.throws(() => targetsOf({ targets: "b" }), { code: "INVALID_JOB" });
});
