import assert from "node:assert/strict";
import { test } from "node:test";

import { violationsOf } from "./check.ts";
import { bannedSyntaxRule, fileNamesRule, leftoversRule } from "./style.ts";

test("style: enum, namespace and default exports are found in code only", () => {
  for (const text of [
    "\nenum A { B }",
    "\nexport const enum A {}",
    "\ndeclare namespace A {}",
    "\nexport default class {}",
  ]) {
    assert.deepEqual(violationsOf(bannedSyntaxRule, { "src/a.ts": text }), ["src/a.ts:2"], text);
  }
  const fine = '// enum A {}\nconst enumValue = "namespace A";\nexport { a as b };\n';
  assert.deepEqual(violationsOf(bannedSyntaxRule, { "src/a.ts": fine }), []);
});

test("style: notes of unfinished work are found in comments and strings", () => {
  for (const word of ["TO", "FIX"].map((start) => start + (start === "TO" ? "DO" : "ME"))) {
    const text = `\n// ${word}: later\n`;
    assert.deepEqual(violationsOf(leftoversRule, { "test/a.ts": text }), ["test/a.ts:2"]);
  }
  assert.deepEqual(violationsOf(leftoversRule, { "test/a.ts": "t.todo();" }), []);
});

test("style: file and folder names are kebab-case", () => {
  const bad = ["src/base/Assert.ts", "src/base/two_words.ts", "src/dnsName/a.ts", "src/a.spec.ts"];
  const good = [
    "src/base/assert.ts",
    "src/base/two-words.test.ts",
    "src/fuse/mount-2.mount.test.ts",
    "test/e2e/failover.e2e.test.ts",
    "test/fuzz/frame.fuzz.ts",
    "bench/ring.bench.ts",
  ];
  const files = Object.fromEntries([...bad, ...good].map((path) => [path, ""]));
  assert.deepEqual(violationsOf(fileNamesRule, files), bad);
});
