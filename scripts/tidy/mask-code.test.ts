import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import { maskCode } from "./mask-code.ts";

test("maskCode() blanks comments, strings and regular expressions, and keeps their quotes", () => {
  const cases: [text: string, code: string][] = [
    ["a // b\nc", "a     \nc"],
    ["a /* b\n{ */ c", "a     \n     c"],
    ['f("a{\\"b", \'}\')', "f(\"     \", ' ')"],
    ["x = /[/{]\\//g; y", "x =         g; y"],
    ["a / b / c", "a / b / c"],
    ["return /}/;", "return    ;"],
    ["if (a) b /= 2;", "if (a) b /= 2;"],
  ];
  for (const [text, code] of cases) assert.equal(maskCode(text), code, text);
});

test("maskCode() keeps the code in a template's placeholders, however deep", () => {
  const text = "`a ${f({ b: `c ${d} }` })} e`; g";
  assert.equal(maskCode(text), "`  ${f({ b: `  ${d}  ` })}  `; g");
});

test("maskCode() ends and keeps length and newlines for any text, even one that is no code", () => {
  const scraps = fc.constantFrom(
    "`",
    "${",
    "}",
    "{",
    '"',
    "'",
    "/",
    "/*",
    "*/",
    "//",
    "\\",
    "\n",
    "a",
  );
  fc.assert(
    fc.property(
      fc.array(scraps).map((parts) => parts.join("")),
      (text) => {
        const code = maskCode(text);
        assert.equal(code.length, text.length);
        assert.equal(code.replaceAll(/[^\n]/g, ""), text.replaceAll(/[^\n]/g, ""));
      },
    ),
  );
});
