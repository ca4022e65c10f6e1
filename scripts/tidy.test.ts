/**
 * The house rules, as a test. Each rule says in its violations what to do; its own tests, on small
 * trees, are in scripts/tidy/.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { purityRule, systemRule } from "./tidy/effects.ts";
import { cyclesRule, deadFilesRule, layersRule } from "./tidy/layers.ts";
import {
  fileLengthRule,
  functionLengthRule,
  lineLengthRule,
  type Ratchet,
} from "./tidy/lengths.ts";
import { bannedSyntaxRule, fileNamesRule, leftoversRule } from "./tidy/style.ts";
import { type Rule, readTree, type Violation } from "./tidy/tree.ts";

/** Functions longer than the limit, `path#name` to lines. Only ever shorten this table. */
const LONG_FUNCTIONS: Ratchet = {};

const RULES: Readonly<Record<string, Rule>> = {
  "imports go downward only": layersRule,
  "no import cycles": cyclesRule,
  "base/, model/ and protocol/ are pure": purityRule,
  "only platform/, adapters/ and fuse/mount* touch the system": systemRule,
  "no dead files": deadFilesRule,
  "files have at most 500 lines": fileLengthRule,
  "lines have at most 100 columns": lineLengthRule,
  "functions have at most 70 lines": functionLengthRule(LONG_FUNCTIONS),
  "no enum, namespace or default export": bannedSyntaxRule,
  "no notes of unfinished work": leftoversRule,
  "file names are kebab-case": fileNamesRule,
};

const tree = readTree(join(import.meta.dirname, ".."));

test("tidy finds the sources", () => assert.ok(tree.has("src/base/assert.ts")));

for (const [name, rule] of Object.entries(RULES)) {
  test(`tidy: ${name}`, () => {
    const violations = rule(tree).map(format).join("\n");
    // The list is the whole story: a stack trace would only bury it.
    if (violations === "") return;
    throw Object.assign(new Error("violations"), { stack: `\n${violations}\n` });
  });
}

function format({ path, line, message }: Violation): string {
  return `  ${path}${line === undefined ? "" : `:${line}`}: ${message}`;
}
