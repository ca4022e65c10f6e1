import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import { ringLayout } from "../journal/ring-layout.ts";
import {
  defaultRingBytes,
  defaultWorkers,
  PATHS_MAX,
  RING_BYTES_DEFAULT,
  ringSizes,
} from "./ring-sizes.ts";

test("ringSizes() uses what was granted and not more, within the format's rules", () => {
  const bytes = fc.integer({ min: 64 * 2 ** 20, max: 8 * 2 ** 30 });
  fc.assert(
    fc.property(bytes, fc.integer({ min: 1, max: 8 }), (ringBytes, workers) => {
      const sizes = ringSizes(ringBytes, workers);
      assert.equal(sizes.arenas, workers + 1);
      assert.equal(Math.log2(sizes.indexSlots) % 1, 0);
      assert.equal(sizes.arenaBytes % 4096, 0);
      assert.ok(sizes.arenaBytes >= 4 * 2 ** 20);
      const used = sizes.indexSlots * 32 + sizes.arenas * sizes.arenaBytes;
      assert.ok(used <= ringBytes);
      assert.ok(used > ringBytes * 0.95);
      assert.ok(ringLayout(sizes).totalBytes >= used);
    }),
  );
});

test("ringSizes() says how much a ring needs that is too small", () => {
  assert.throws(() => ringSizes(2 ** 20, 4), { code: "RING_TOO_SMALL" });
});

test("the default ring has room for the default workers of every machine", () => {
  for (const processors of [1, 2, 8, 256]) {
    assert.doesNotThrow(() => ringSizes(RING_BYTES_DEFAULT, defaultWorkers(processors)));
    for (let paths = 1; paths <= PATHS_MAX; paths++) {
      const workers = defaultWorkers(processors, paths);
      assert.equal(workers % paths, 0, "no worker without a folder");
      assert.ok(workers >= 2 * paths);
      assert.ok(ringSizes(defaultRingBytes(workers), workers).arenaBytes > 5 * 2 ** 20);
    }
  }
  assert.equal(defaultRingBytes(8), RING_BYTES_DEFAULT);
});
