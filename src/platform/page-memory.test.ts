import assert from "node:assert/strict";
import { test } from "node:test";

import { isWholePages, pageMemory } from "./page-memory.ts";

test("whole pages are told from what only looks like them", () => {
  const memory = pageMemory(20_000);
  assert.equal(memory.length, 20_000);
  assert.ok(isWholePages(memory.subarray(0, 16_384)));
  assert.ok(isWholePages(memory.subarray(8192, 12_288)));
  assert.ok(!isWholePages(memory.subarray(8192, 12_287)));
  assert.ok(!isWholePages(memory.subarray(8, 8 + 4096)));
  assert.ok(!isWholePages(new Uint8Array(4096)));
});
