import assert from "node:assert/strict";
import { test } from "node:test";
import { RuleError, Rules, rulesOfLists } from "./rules.ts";

function excluded(rules: Rules, path: string, isDirectory = false): boolean {
  return rules.excludes(Buffer.from(path), isDirectory);
}

test("Rules include what no pattern matches", () => {
  assert.equal(excluded(new Rules([]), "a/b"), false);
  assert.equal(excluded(new Rules([{ kind: "exclude", pattern: "*.tmp" }]), "a/b.txt"), false);
});

test("Rules let the first pattern that matches decide", () => {
  const rules = new Rules([
    { kind: "include", pattern: "keep.tmp" },
    { kind: "exclude", pattern: "*.tmp" },
  ]);
  assert.equal(excluded(rules, "a/keep.tmp"), false);
  assert.equal(excluded(rules, "a/other.tmp"), true);
  assert.equal(rules.dependOnPath, false);
});

test("Rules match a pattern with a slash against the whole path", () => {
  const rules = new Rules([
    { kind: "exclude", pattern: "/cache" },
    { kind: "exclude", pattern: "a/**/c" },
    { kind: "exclude", pattern: "x/*.log" },
  ]);
  assert.equal(rules.dependOnPath, true);
  assert.equal(excluded(rules, "cache"), true);
  assert.equal(excluded(rules, "a/cache"), false);
  assert.equal(excluded(rules, "a/c"), true);
  assert.equal(excluded(rules, "a/b/b/c"), true);
  assert.equal(excluded(rules, "x/y.log"), true);
  assert.equal(excluded(rules, "x/y/z.log"), false);
});

test("Rules match directories alone when the pattern ends in a slash", () => {
  const rules = new Rules([{ kind: "exclude", pattern: "tmp/" }]);
  assert.equal(excluded(rules, "a/tmp", true), true);
  assert.equal(excluded(rules, "a/tmp", false), false);
});

test("Rules know sets, single characters and bytes that are no UTF-8", () => {
  const rules = new Rules([
    { kind: "exclude", pattern: "[a-c]?" },
    { kind: "exclude", pattern: "[!0-9]9" },
    { kind: "exclude", pattern: "ä\\*" },
  ]);
  assert.equal(excluded(rules, "b7"), true);
  assert.equal(excluded(rules, "d7"), false);
  assert.equal(excluded(rules, "x9"), true);
  assert.equal(excluded(rules, "99"), false);
  assert.equal(excluded(rules, "ä*"), true);
  assert.equal(rules.excludes(Uint8Array.of(0x61, 0xff), false), true);
});

test("rulesOfLists() copies only what an include matches, or what lies below one", () => {
  const rules = rulesOfLists(["*.txt", "/all"], ["secret.txt"]);
  assert.equal(excluded(rules, "a", true), false);
  assert.equal(excluded(rules, "a/b.txt"), false);
  assert.equal(excluded(rules, "a/b.log"), true);
  assert.equal(excluded(rules, "a/secret.txt"), true);
  assert.equal(excluded(rules, "all/b/c.log"), false);
  assert.equal(excluded(rules, "all/secret.txt"), true);
});

test("Rules refuse a pattern that cannot be understood", () => {
  for (const pattern of ["", "/", "[a", "a\\", "[z-a]"]) {
    assert.throws(() => new Rules([{ kind: "exclude", pattern }]), RuleError, pattern);
  }
});
