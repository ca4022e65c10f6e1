import assert from "node:assert/strict";
import { test } from "node:test";

import { violationsOf } from "./check.ts";
import { purityRule, systemRule } from "./effects.ts";

const CLOCKS_AND_CHANCE = [
  "const timer = setTimeout(f, 1);",
  "setInterval (f, 1);",
  "const now = Date.now();",
  "const now = new Date();",
  "const chance = Math.random();",
  "const start = performance.now();",
  "const signal = AbortSignal.timeout(5);",
];

test("purity: a pure folder uses no module of Node, no system, no clock and no chance", () => {
  const impure = [
    ...CLOCKS_AND_CHANCE,
    'import { join } from "node:path";',
    'import type { Stats } from "node:fs";',
    'import koffi from "koffi";',
    "const date = new Date(1000);",
    "const home = process.env.HOME;",
  ];
  for (const text of impure) {
    for (const folder of ["base", "model", "protocol"]) {
      const path = `src/${folder}/a.ts`;
      assert.ok(violationsOf(purityRule, { [path]: text }).includes(`${path}:1`), text);
    }
  }
});

test("purity: injected clocks, other words, comments, tests and other folders are fine", () => {
  const fine = [
    "this.#clock.setTimeout(f, 1);",
    "const updateDate = lastDate;",
    "// Date.now() is not used here",
    'const text = "Math.random()";',
    "function process(op) {}",
  ].join("\n");
  assert.deepEqual(
    violationsOf(purityRule, {
      "src/base/a.ts": fine,
      "src/base/a.test.ts": "Date.now()",
      "src/platform/clock.ts": "Date.now()",
    }),
    [],
  );
});

test("system: only platform/, adapters/ and fuse/mount* touch the system", () => {
  const reaching = [
    ...CLOCKS_AND_CHANCE,
    'import { readSync } from "node:fs";',
    'import { open } from "node:fs/promises";',
    'import { connect } from "node:tls";',
    'import koffi from "koffi";',
    'import { Worker } from "node:worker_threads";',
    'const fs = await import("node:fs");',
  ];
  for (const text of reaching) {
    for (const path of ["src/journal/ring.ts", "src/fuse/session.ts", "src/main.ts"]) {
      assert.deepEqual(violationsOf(systemRule, { [path]: text }), [`${path}:1`], text);
    }
    for (const path of [
      "src/platform/files.ts",
      "src/adapters/dns/updater.ts",
      "src/fuse/mount.ts",
      "src/fuse/mount-options.ts",
      "src/journal/ring.test.ts",
      "bench/ring.bench.ts",
    ]) {
      assert.deepEqual(violationsOf(systemRule, { [path]: text }), [], `${path}: ${text}`);
    }
  }
});

test("system: computing modules are fine, and a worker entry may talk to its parent", () => {
  const files = {
    "src/journal/ring.ts":
      'import { join } from "node:path";\nimport { crc32 } from "node:zlib";\nnew Date(ms);',
    "src/capture/request-worker.ts": 'import { parentPort } from "node:worker_threads";',
  };
  assert.deepEqual(violationsOf(systemRule, files), []);
});
