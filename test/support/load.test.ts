import assert from "node:assert/strict";
import { test } from "node:test";

import { netMs } from "./load.ts";

const at = (atMs: number, ms: number) => ({ atMs, ms });

test("a pause counts as far as the bare folder was not silent, too", () => {
  assert.equal(netMs(at(1000, 500), []), 500);
  assert.equal(netMs(at(1000, 500), [at(0, 900), at(1600, 100)]), 500);
  assert.equal(netMs(at(1000, 500), [at(1100, 200)]), 300);
  assert.equal(netMs(at(1000, 500), [at(1400, 200), at(900, 200)]), 300);
  assert.equal(netMs(at(1000, 500), [at(900, 700), at(1000, 10)]), 0);
});

test("around a long silence processes stop and go on at different moments", () => {
  assert.equal(netMs(at(9000, 62_000), [at(10_000, 60_000)]), 0);
  assert.equal(netMs(at(5000, 65_000), [at(10_000, 60_000)]), 3500);
});
