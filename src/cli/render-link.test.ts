import assert from "node:assert/strict";
import { test } from "node:test";

import type { LimitStatus, TargetStatus } from "../agent/jobs/job-status.ts";
import { renderLimit, renderLink, renderUnknownOwners } from "./render-link.ts";

process.env.TZ = "Europe/Berlin";

const NONE: LimitStatus = { limitBytes: null, schedule: [], bytesPerSecond: null, until: null };

function link(limit: LimitStatus, via: string | null): string[] {
  const unknownOwners = { count: 0, names: [] };
  return renderLink({
    agent: "db2",
    limit,
    via,
    through: null,
    unknownOwners,
  } as unknown as TargetStatus);
}

test("a limit is shown with its end, in local time", () => {
  assert.equal(renderLimit(NONE), "no limit");
  assert.equal(renderLimit({ ...NONE, bytesPerSecond: 20 << 20 }), "at most 20 MiB/s");
  const until = "2026-06-12T16:00:00.000Z";
  const limit = { ...NONE, bytesPerSecond: 2_000_000, until };
  assert.equal(renderLimit(limit), "at most 2 MB/s until Fri 18:00");
  assert.equal(renderLimit({ ...limit, bytesPerSecond: null }), "no limit until Fri 18:00");
});

test("a target is told of when it has a limit, a schedule or an address", () => {
  assert.deepEqual(link(NONE, null), []);
  const limited = { ...NONE, bytesPerSecond: 1024 };
  assert.deepEqual(link(limited, "10.0.2.1"), ["at most 1 KiB/s", "connected from 10.0.2.1"]);
  assert.deepEqual(link({ ...NONE, schedule: ["daily 00:00-24:00 none"] }, null), ["no limit"]);
});

test("unknown owners are named, the first of many", () => {
  const one = { count: 1, names: ["user ann"] };
  assert.equal(renderUnknownOwners(one), "1 owner is unknown and keeps its number: user ann");
  const many = { count: 3, names: ["user ann", "group 77 (nameless)"] };
  assert.equal(
    renderUnknownOwners(many),
    "3 owners are unknown and keep their number: user ann, group 77 (nameless), …",
  );
});
