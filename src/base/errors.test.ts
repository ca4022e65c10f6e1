import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import { AssertionError, StandinError } from "./errors.ts";

test("StandinError carries code, message, hint and cause", () => {
  const cause = new Error("ECONNREFUSED");
  const error = new StandinError("TARGET_UNREACHABLE", "connect to target: refused", {
    hint: "Start the agent on the target.",
    cause,
  });
  assert.ok(error instanceof Error);
  assert.equal(error.name, "StandinError");
  assert.equal(error.code, "TARGET_UNREACHABLE");
  assert.equal(error.message, "connect to target: refused");
  assert.equal(error.hint, "Start the agent on the target.");
  assert.equal(error.cause, cause);
});

test("StandinError without a cause has no cause property", () => {
  const error = new StandinError("DISK_FULL", "append op: no space left");
  assert.equal(Object.hasOwn(error, "cause"), false);
  assert.equal(error.hint, undefined);
  assert.doesNotMatch(inspect(error), /\[cause\]/);
});

test("AssertionError is not a StandinError, so that a handler of failures lets bugs pass", () => {
  assert.ok(!((new AssertionError("broken") as Error) instanceof StandinError));
});
