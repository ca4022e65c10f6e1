import assert from "node:assert/strict";
import { test } from "node:test";

import { limitChangeOf, resolveTargets, targetsOf } from "./target-settings.ts";

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
    { agent: "c", limitBytes: 4096, schedule: [WINDOW], through: null, via: "10.0.0.1" },
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

const limit = { limitBytes: null, schedule: [], via: null };

test("a target behind another makes that one a target, too, and once", () => {
  assert.deepEqual(targetsOf({ targets: ["b/c", "b/d", "b"] }), [
    { agent: "b", through: null, ...limit },
    { agent: "c", through: "b", ...limit },
    { agent: "d", through: "b", ...limit },
  ]);
  assert.throws(() => targetsOf({ targets: ["b/c/d"] }), { code: "CHAIN_TOO_LONG" });
});

test("targets are resolved to ids, and none is there twice", () => {
  const ids: Record<string, string> = { a: "1", b: "2", c: "3" };
  const members = {
    identity: { id: "1" },
    findMember: (name: string) => ({ name, id: ids[name] ?? name }),
  } as unknown as Parameters<typeof resolveTargets>[1];
  const resolve = (targets: string[], owners = "id") => {
    return resolveTargets({ targets: targetsOf({ targets }), owners }, members);
  };
  assert.deepEqual(
    resolve(["b/c"]).map(({ agent, through }) => [agent, through]),
    [
      ["2", null],
      ["3", "2"],
    ],
  );
  assert.throws(() => resolve(["b", "a"]), { code: "TARGET_IS_SOURCE" });
  assert.throws(() => resolve(["b/a"]), { code: "TARGET_IS_SOURCE" });
  assert.throws(() => resolve(["b", "2"]), { code: "TARGET_TWICE" });
  assert.throws(() => resolve(["b/c", "c"]), { code: "TARGET_TWICE" });
  assert.throws(() => resolve(["b/c"], "name"), { code: "CHAIN_OWNERS" });
  const many = Array.from({ length: 65 }, (_, i) => `t${i}`);
  assert.throws(() => resolve(many), { code: "TOO_MANY_TARGETS" });
  assert.equal(resolve(many.slice(1)).length, 64);
});
