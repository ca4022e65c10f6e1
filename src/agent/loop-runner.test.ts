/** The life of loops: order, drain before stop, restart of what broke, an end in any case. */
import assert from "node:assert/strict";
import { test } from "node:test";

import type { Clock } from "../platform/clock.ts";
import { AgentLog, logFormatFor } from "./agent-log.ts";
import type { Loop } from "./loop.ts";
import { LoopRunner } from "./loop-runner.ts";

/** Sleeps pass at once, but for a turn of the event loop; how long they were is kept. */
function quickClock(sleeps: number[]): Clock {
  return {
    monotonicMs: () => 0,
    wallMs: () => 0,
    sleep: async (durationMs, signal) => {
      sleeps.push(durationMs);
      await new Promise<void>((resolve) => {
        if (durationMs <= 2000) setImmediate(resolve);
        signal?.addEventListener("abort", () => resolve());
      });
    },
  };
}

interface Stage {
  readonly steps: string[];
  readonly lines: string[];
  readonly sleeps: number[];
  readonly runner: LoopRunner;
}

function stage(): Stage {
  const [steps, lines, sleeps]: [string[], string[], number[]] = [[], [], []];
  const clock = quickClock(sleeps);
  const log = new AgentLog("journal", clock, (line) => lines.push(line));
  return { steps, lines, sleeps, runner: new LoopRunner(clock, log) };
}

function loop(name: string, steps: string[], changes: Partial<Loop> = {}): Loop {
  return {
    name,
    start: async () => void steps.push(`start ${name}`),
    drain: async () => void steps.push(`drain ${name}`),
    stop: async () => void steps.push(`stop ${name}`),
    ...changes,
  };
}

test("loops start in order; all drain, then stop in reverse", async () => {
  const { steps, runner } = stage();
  await runner.start(loop("one", steps));
  await runner.start(loop("two", steps));
  assert.deepEqual(runner.states(), { one: "running", two: "running" });
  await runner.stopAll();
  assert.deepEqual(steps, [
    "start one",
    "start two",
    "drain one",
    "drain two",
    "stop two",
    "stop one",
  ]);
});

test("a loop that does not start is stopped and forgotten; one can be taken out", async () => {
  const { steps, runner } = stage();
  const bad = loop("bad", steps, { start: () => Promise.reject(new Error("no")) });
  await assert.rejects(runner.start(bad), /no/);
  const good = loop("good", steps);
  await runner.start(good);
  await runner.remove(good);
  assert.deepEqual(steps, ["stop bad", "start good", "drain good", "stop good"]);
  assert.deepEqual(runner.states(), {});
});

test("a loop that breaks is stopped and started again, with longer pauses", async () => {
  const { steps, runner, lines, sleeps } = stage();
  let starts = 0;
  let fail: (error: unknown) => void = () => {};
  const running = Promise.withResolvers<void>();
  const weak = loop("weak", steps, {
    start: async (failed) => {
      starts += 1;
      fail = failed;
      if (starts === 2) throw new Error("still");
      if (starts === 3) running.resolve();
    },
  });
  await runner.start(weak);
  fail(new Error("broken pipe"));
  fail(new Error("once more"));
  assert.deepEqual(runner.states(), { weak: "broken" });
  await running.promise;
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(runner.states(), { weak: "running" });
  assert.deepEqual(
    sleeps.filter((ms) => ms <= 2000),
    [1000, 2000],
  );
  assert.match(lines.join("\n"), /^<3>error: weak broke: Error: broken pipe; again in 1 s$/m);
  assert.match(lines.join("\n"), /^<6>weak runs again$/m);
  await runner.stopAll();
});

test("a loop that fails to drain or stop does not keep the others", async () => {
  const { steps, runner, lines } = stage();
  await runner.start(loop("one", steps));
  const stuck = { drain: () => Promise.reject(new Error("x")), stop: () => Promise.reject("y") };
  await runner.start(loop("two", steps, stuck));
  await runner.stopAll();
  assert.deepEqual(steps, ["start one", "start two", "drain one", "stop one"]);
  assert.equal(lines.length, 2);
});

test("log lines are one line, readable, and marked for the journal", () => {
  const clock = quickClock([]);
  const lines: string[] = [];
  for (const format of ["terminal", "journal", "json"] as const) {
    const log = new AgentLog(format, clock, (line) => lines.push(line));
    log.warning("event", "two\n  lines", { address: "a:1", why: "no idea" });
  }
  assert.deepEqual(lines, [
    '1970-01-01T00:00:00.000Z warning: two | lines address=a:1 why="no idea"',
    '<4>warning: two | lines address=a:1 why="no idea"',
    '{"time":"1970-01-01T00:00:00.000Z","level":"warning","event":"event",' +
      '"message":"two\\n  lines","address":"a:1","why":"no idea"}',
  ]);
  assert.equal(logFormatFor(false, { JOURNAL_STREAM: "8:1" }), "journal");
  assert.equal(logFormatFor(false, {}), "terminal");
  assert.equal(logFormatFor(true, { JOURNAL_STREAM: "8:1" }), "json");
});
