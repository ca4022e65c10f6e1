import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";

import { assert, unreachable } from "./assert.ts";
import { AssertionError } from "./errors.ts";

test("assert() passes on truthy values and narrows the type", () => {
  const value: number | undefined = [7][0];
  assert(value !== undefined, "value is set");
  equal(value + 1, 8);
});

test("assert() throws an AssertionError with the message", () => {
  throws(() => assert(1 > 2, "one is not more than two"), {
    name: "AssertionError",
    message: "one is not more than two",
  });
});

test("assert() builds a lazy message only on failure", () => {
  const built: string[] = [];
  const message = () => {
    built.push("built");
    return "lazy";
  };
  assert(true, message);
  deepEqual(built, []);
  throws(() => assert(false, message), /^AssertionError: lazy$/);
  deepEqual(built, ["built"]);
});

test("unreachable() names the value that should not exist", () => {
  const cyclic: { self?: unknown } = {};
  cyclic.self = cyclic;
  const cases: [unknown, string][] = [
    ["archived", 'unexpected job state: "archived"'],
    [{ kind: "x" }, 'unexpected job state: {"kind":"x"}'],
    [12n, "unexpected job state: 12n"],
    [undefined, "unexpected job state: undefined"],
    [cyclic, "unexpected job state: [object Object]"],
  ];
  for (const [value, message] of cases) {
    throws(() => unreachable(value as never, "job state"), { message });
    throws(() => unreachable(value as never), AssertionError);
  }
});
