import assert from "node:assert/strict";
import { test } from "node:test";

import { mergeRuns, type TestEvent } from "./merge-runs.ts";

async function* runOf(...events: TestEvent[]): AsyncGenerator<TestEvent> {
  yield* events;
}

function diagnostic(message: string, file?: string): TestEvent {
  return { type: "test:diagnostic", data: { nesting: 0, message, file } };
}

async function merge(...runs: AsyncIterable<TestEvent>[]) {
  let failureCount = 0;
  const events = await Array.fromAsync(mergeRuns(runs, () => failureCount++));
  return { events, failureCount };
}

test("mergeRuns() ends with the sum of the runs' summaries", async () => {
  const pass: TestEvent = { type: "test:pass", data: { name: "a" } };
  const { events, failureCount } = await merge(
    runOf(pass, diagnostic("tests 1"), diagnostic("duration_ms 10.5")),
    runOf(pass, diagnostic("tests 2"), diagnostic("duration_ms 2")),
  );
  assert.deepEqual(
    events.map((event) => event.data.message ?? event.type),
    ["test:pass", "test:pass", "tests 3", "duration_ms 12.5"],
  );
  assert.equal(failureCount, 0);
});

test("mergeRuns() passes a test's own diagnostics on, whatever they look like", async () => {
  const own = diagnostic("tests 7", "/a.test.ts");
  const { events } = await merge(runOf(own, diagnostic("seed 42")));
  assert.deepEqual(events, [own, diagnostic("seed 42")]);
});

test("mergeRuns() reports failures, but not of tests marked as todo", async () => {
  const fail: TestEvent = { type: "test:fail", data: { name: "a" } };
  const todo: TestEvent = { type: "test:fail", data: { name: "b", todo: "later" } };
  assert.equal((await merge(runOf(todo))).failureCount, 0);
  assert.equal((await merge(runOf(todo), runOf(fail))).failureCount, 1);
});
