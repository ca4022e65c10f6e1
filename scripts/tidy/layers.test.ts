import assert from "node:assert/strict";
import { test } from "node:test";

import { violationsOf } from "./check.ts";
import { cyclesRule, deadFilesRule, layersRule } from "./layers.ts";

/** Violations of the layer rule when a file imports another. */
function importing(from: string, to: string): string[] {
  const up = "../".repeat(from.split("/").length - 1);
  return violationsOf(layersRule, { [from]: `import { x } from "${up}${to}";\n`, [to]: "" });
}

test("layers: a file may import its own folder and the folders below", () => {
  const allowed: [string, string][] = [
    ["src/base/units.ts", "src/base/assert.ts"],
    ["src/platform/libc.ts", "src/base/assert.ts"],
    ["src/protocol/frame.ts", "src/model/op.ts"],
    ["src/fuse/session.ts", "src/platform/libc.ts"],
    ["src/adapters/dns/updater.ts", "src/failover/ports.ts"],
    ["src/adapters/dns/updater.ts", "src/adapters/dns/tsig.ts"],
    ["src/agent/node.ts", "src/capture/engine.ts"],
    ["src/main.ts", "src/cli/program.ts"],
  ];
  for (const [from, to] of allowed) assert.deepEqual(importing(from, to), [], `${from} -> ${to}`);
});

test("layers: a file may not import what is above, beside, or kept apart", () => {
  const forbidden: [string, string][] = [
    ["src/base/units.ts", "src/model/op.ts"], // upward
    ["src/model/op.ts", "src/platform/libc.ts"], // pure, though platform is below
    ["src/fuse/session.ts", "src/model/op.ts"], // fuse can be lifted out
    ["src/journal/ring.ts", "src/capture/engine.ts"],
    ["src/capture/engine.ts", "src/mirror/verify.ts"], // one layer
    ["src/api/server.ts", "src/cli/program.ts"], // one layer
    ["src/adapters/dns/updater.ts", "src/adapters/ldap/client.ts"],
    ["src/agent/node.ts", "src/main.ts"],
    ["src/agent/node.ts", "test/support/capabilities.ts"],
    ["src/agent/node.ts", "scripts/run-tests.ts"],
  ];
  for (const [from, to] of forbidden) {
    assert.deepEqual(importing(from, to), [`${from}:1`], `${from} -> ${to}`);
  }
});

test("layers: types, re-exports, dynamic imports and worker paths count as imports", () => {
  const above = "../agent/node.ts";
  for (const text of [
    `import type { Node } from "${above}";`,
    `import {\n  a,\n  b,\n} from '${above}';`,
    `export * from "${above}";`,
    `export type { Node } from "${above}";`,
    `import "${above}";`,
    `const node = await import("${above}");`,
    `new Worker(new URL("${above}", import.meta.url));`,
  ]) {
    const files = { "src/journal/ring.ts": text, "src/agent/node.ts": "" };
    assert.equal(violationsOf(layersRule, files).length, 1, text);
  }
});

test("layers: a comment is no import, and a test may import anything", () => {
  const text = 'import { x } from "../agent/node.ts";';
  assert.deepEqual(
    violationsOf(layersRule, {
      "src/journal/ring.ts": `// ${text}\n/* ${text} */\n`,
      "src/journal/ring.test.ts": text,
      "src/agent/node.ts": "",
    }),
    [],
  );
});

test("layers: every folder of src/ has a layer", () => {
  assert.deepEqual(violationsOf(layersRule, { "src/utils/misc.ts": "" }), ["src/utils/misc.ts"]);
});

test("cycles: a cycle is found once, however long, type-only included", () => {
  const files = {
    "src/base/a.ts": 'import { b } from "./b.ts";',
    "src/base/b.ts": 'import type { C } from "./c.ts";',
    "src/base/c.ts": 'export * from "./a.ts";',
    "src/base/outside.ts": 'import { a } from "./a.ts";',
  };
  assert.deepEqual(violationsOf(cyclesRule, files), ["src/base/a.ts"]);
  assert.deepEqual(violationsOf(cyclesRule, { ...files, "src/base/c.ts": "" }), []);
});

test("cycles: a file that imports itself is one, a worker that names its own path is not", () => {
  const own = { "src/base/a.ts": 'import { a } from "./a.ts";' };
  assert.deepEqual(violationsOf(cyclesRule, own), ["src/base/a.ts"]);
  const worker = { "src/base/a.ts": 'new URL("./a.ts", import.meta.url);' };
  assert.deepEqual(violationsOf(cyclesRule, worker), []);
});

test("dead files: what neither the program, a test nor a worker reaches is dead", () => {
  const files = {
    "src/main.ts":
      'import { a } from "./base/a.ts";\nnew URL("./base/spawned.ts", import.meta.url)',
    "src/base/a.ts": "",
    "src/base/spawned.ts": "",
    "src/base/tested.ts": "",
    "src/base/tested.test.ts": 'import { tested } from "./tested.ts";',
    "src/fuse/request-worker.ts": 'import { session } from "./session.ts";',
    "src/fuse/session.ts": "",
    "src/base/dead.ts": 'import { deader } from "./deader.ts";',
    "src/base/deader.ts": 'import { dead } from "./dead.ts";',
  };
  assert.deepEqual(violationsOf(deadFilesRule, files), ["src/base/dead.ts", "src/base/deader.ts"]);
});
