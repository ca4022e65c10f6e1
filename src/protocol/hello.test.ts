import assert from "node:assert/strict";
import { test } from "node:test";

import { negotiate, parseHello, parseRefusal, parseWelcome } from "./hello.ts";

const HELLO = { product: "standin", versions: [2, 1], program: "1.2.3", purpose: "stream" };

test("parseHello() takes what it can use, and nothing that is not ours", () => {
  assert.deepEqual(parseHello({ ...HELLO, parameters: { a: 1 } }), {
    versions: [2, 1],
    program: "1.2.3",
    purpose: "stream",
    parameters: { a: 1 },
  });
  assert.deepEqual(parseHello({ ...HELLO, parameters: [1] })?.parameters, {});
  const bad: Record<string, unknown>[] = [
    {},
    { ...HELLO, product: "other" },
    { ...HELLO, versions: "1" },
    { ...HELLO, versions: [1.5] },
    { ...HELLO, versions: Array.from({ length: 65 }, () => 1) },
    { ...HELLO, purpose: 7 },
    { ...HELLO, purpose: "x".repeat(65) },
  ];
  for (const value of bad) assert.equal(parseHello(value), undefined, JSON.stringify(value));
});

test("parseWelcome() takes only a version that we speak", () => {
  const welcome = { product: "standin", version: 1, program: "1.2.3", parameters: { a: 1 } };
  assert.deepEqual(parseWelcome(welcome)?.parameters, { a: 1 });
  assert.equal(parseWelcome({ ...welcome, version: 99 }), undefined);
  assert.equal(parseWelcome({ ...welcome, product: "x" }), undefined);
});

test("negotiate() finds the best version that both speak", () => {
  assert.equal(negotiate([1, 2, 3], [3, 2]), 3);
  assert.equal(negotiate([1, 2], [3, 2]), 2);
  assert.equal(negotiate([7]), undefined);
  assert.equal(negotiate([]), undefined);
});

test("parseRefusal() makes sense of anything", () => {
  assert.deepEqual(parseRefusal({ code: "A", message: "b", hint: "c" }), {
    code: "A",
    message: "b",
    hint: "c",
  });
  assert.deepEqual(parseRefusal({}), { code: "UNKNOWN", message: "it gave no reason" });
});
