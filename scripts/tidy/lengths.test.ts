import assert from "node:assert/strict";
import { test } from "node:test";

import { violationsOf } from "./check.ts";
import { fileLengthRule, functionLengthRule, lineLengthRule } from "./lengths.ts";

test("lengths: a file has at most 500 lines", () => {
  assert.deepEqual(violationsOf(fileLengthRule, { "src/a.ts": "x;\n".repeat(500) }), []);
  assert.deepEqual(violationsOf(fileLengthRule, { "src/a.ts": "x;\n".repeat(501) }), ["src/a.ts"]);
});

test("lengths: a line has at most 100 columns, counted in characters, links excepted", () => {
  const long = `// ${"é".repeat(97)}`;
  assert.deepEqual(violationsOf(lineLengthRule, { "src/a.ts": `${long}\n` }), []);
  assert.deepEqual(violationsOf(lineLengthRule, { "src/a.ts": `\n${long}é\n` }), ["src/a.ts:2"]);
  const link = `// https://example.org/${"a".repeat(100)}`;
  assert.deepEqual(violationsOf(lineLengthRule, { "src/a.ts": link }), []);
});

/** A function `long` whose body spans so many lines. */
function spanning(lineCount: number): string {
  return `function long() {\n${"x;\n".repeat(lineCount - 2)}}\n`;
}

test("lengths: a function of the product or of a script has at most 70 lines", () => {
  const rule = functionLengthRule({});
  assert.deepEqual(violationsOf(rule, { "src/a.ts": spanning(70) }), []);
  assert.deepEqual(violationsOf(rule, { "src/a.ts": `\n${spanning(71)}` }), ["src/a.ts:2"]);
  assert.deepEqual(violationsOf(rule, { "scripts/a.ts": spanning(71) }), ["scripts/a.ts:1"]);
  assert.deepEqual(violationsOf(rule, { "src/a.test.ts": spanning(71) }), []);
});

test("lengths: a known long function may shrink, which lowers the ratchet, and never grow", () => {
  const lengthOf = (lineCount: number) =>
    violationsOf(functionLengthRule({ "src/a.ts#long": 80 }), { "src/a.ts": spanning(lineCount) });
  assert.deepEqual(lengthOf(80), []);
  assert.deepEqual(lengthOf(81), ["src/a.ts:1"]);
  assert.deepEqual(lengthOf(79), ["src/a.ts:1"]);
  assert.deepEqual(lengthOf(70), ["src/a.ts#long"]); // the entry has nothing left to allow
});
