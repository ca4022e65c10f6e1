import assert from "node:assert/strict";
import { test } from "node:test";

import type { LimitStatus, TargetStatus } from "../agent/jobs/job-status.ts";
import { renderLimit, renderLink } from "./render-link.ts";

process.env.TZ = "Europe/Berlin";

const NONE: LimitStatus = { limitBytes: null, schedule: [], bytesPerSecond: null, until: null };

function link(limit: LimitStatus, via: string | null): string | undefined {
  return renderLink({ agent: "db2", limit, via } as TargetStatus);
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
  assert.equal(link(NONE, null), undefined);
  assert.equal(link(NONE, "10.0.2.1"), "db2: connected from 10.0.2.1");
  const limited = { ...NONE, bytesPerSecond: 1024 };
  assert.equal(link(limited, "10.0.2.1"), "db2: at most 1 KiB/s, connected from 10.0.2.1");
  assert.equal(link({ ...NONE, schedule: ["daily 00:00-24:00 none"] }, null), "db2: no limit");
});
