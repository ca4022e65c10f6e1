import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { systemClock } from "../platform/clock.ts";
import type { ApplierLink } from "./applier-link.ts";
import { CopySupervisor } from "./copy-supervisor.ts";
import type { DueWork } from "./instance-record.ts";

/** A copy whose applier answers each flush at once and does other work when it is told. */
function copyWith(due: DueWork) {
  const state = { gaps: 0, finish: () => {} };
  const applier = {
    request: ({ command }: { command: string }) =>
      new Promise((resolve) => {
        if (command === "flush") resolve({ event: "flushed" });
        else state.finish = () => resolve({ event: "verified" });
      }),
  };
  const copy = new CopySupervisor({
    clock: systemClock,
    applier: applier as unknown as ApplierLink,
    due,
    isPaused: false,
    gaps: () => state.gaps,
    onDue: () => {},
  });
  return { copy, state };
}

test("a flush of a complete copy needs the applier only", async () => {
  await copyWith("none").copy.flush(5, 1000);
});

for (const [due, why] of [
  ["mirror", /first full copy is not complete/],
  ["resync", /resync is not complete/],
] as const) {
  test(`a flush while a ${due} is due waits for it`, async () => {
    const { copy, state } = copyWith(due);
    const running = new AbortController();
    const run = copy.run(running.signal);
    await assert.rejects(copy.flush(5, 20), { code: "FLUSH_TIMEOUT", message: why });
    const flushed = copy.flush(5, 5000);
    state.finish();
    await flushed;
    assert.equal(copy.due, "none");
    running.abort();
    await run;
  });
}

test("a flush does not pass over a gap that nobody has noticed yet", async () => {
  const { copy, state } = copyWith("none");
  state.gaps = 1;
  await assert.rejects(copy.flush(5, 20), { code: "FLUSH_TIMEOUT", message: /resync/ });
  const running = new AbortController();
  const run = copy.run(running.signal);
  const flushed = copy.flush(5, 5000);
  await sleep(20);
  state.finish();
  await flushed;
  running.abort();
  await run;
});

test("a flush waits for files that are being copied again", async () => {
  const { copy } = copyWith("none");
  copy.observe({ event: "status", pendingResyncs: 2 });
  await assert.rejects(copy.flush(5, 20), { code: "FLUSH_TIMEOUT" });
  copy.observe({ event: "status", pendingResyncs: 0 });
  await copy.flush(5, 1000);
});
