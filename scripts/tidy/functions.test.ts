import assert from "node:assert/strict";
import { test } from "node:test";

import { functionsOf } from "./functions.ts";

/** The functions in a text, as `name:line+lineCount`, in the order in which they end. */
function found(code: string): string[] {
  return functionsOf(code).map(({ name, line, lineCount }) => `${name}:${line}+${lineCount}`);
}

test("functionsOf() finds functions, methods, accessors and arrows by name", () => {
  const cases: [code: string, name: string][] = [
    ["function plain(a, b) {}", "plain:1+1"],
    ["export async function* stream<T>(a: T): AsyncIterable<T> {}", "stream:1+1"],
    ["class A extends b(C) {\n  #secret(): void {\n  }\n}", "#secret:2+2"],
    ["class A {\n  constructor(readonly a: B) {}\n}", "constructor:2+1"],
    ["class A {\n  get size(): number {\n}\n}", "size:2+2"],
    ["const arrow = (a: B) => {};", "arrow:1+1"],
    ["export const typed: Rule = (a) => {};", "typed:1+1"],
    ["const made = async () => {};", "made:1+1"],
    ["x = { field: () => {} };", "field:1+1"],
    ["items.map((item) => {});", "anonymous:1+1"],
    ["function guard(a: unknown): asserts a is B {}", "guard:1+1"],
  ];
  for (const [code, name] of cases) assert.deepEqual(found(code), [name], code);
});

test("functionsOf() sees through patterns and object types in a signature", () => {
  assert.deepEqual(found("function f({ a, b }: X, [c] = []) {\n}"), ["f:1+2"]);
  assert.deepEqual(found("function f(a: { b: number }): { c: number } {\n}"), ["f:1+2"]);
});

test("functionsOf() takes no other block for a function", () => {
  for (const code of [
    "if (a) {} else if (b) {} else {}",
    "for (const { a } of list) {}",
    "for await (const a of list) {}",
    "while (a()) {}",
    "switch (a) { case 1: if (b) {} }",
    "try {} catch (error) {} finally {}",
    "const a = {};",
    "call({ a: b(c), d: {} });",
    "interface A { b(): void }",
  ]) {
    assert.deepEqual(found(code), [], code);
  }
});

test("functionsOf() measures a nested function apart from the one around it", () => {
  assert.deepEqual(found("function a() {\n  const b = () => {\n  };\n}"), ["b:2+2", "a:1+4"]);
});
