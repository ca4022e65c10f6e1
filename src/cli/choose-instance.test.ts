import assert from "node:assert/strict";
import { test } from "node:test";

import { InstanceRegistry } from "../agent/instance-registry.ts";
import { makeTemporaryFolder, removeTree } from "../platform/files.ts";
import { identify } from "../platform/processes.ts";
import { chooseInstance } from "./choose-instance.ts";

function registryOf(folder: string, ...names: string[]): InstanceRegistry {
  const registry = new InstanceRegistry(`${folder}/registry`);
  for (const name of names) {
    registry.add({
      id: name,
      stateDirectory: folder,
      source: `/srv/${name}`,
      replica: `/copy/${name}`,
      agent: identify(process.pid)!,
    });
  }
  return registry;
}

test("chooseInstance() takes --state, then STANDIN_STATE, then the only one", (context) => {
  const folder = makeTemporaryFolder("standin-choose-");
  context.after(() => removeTree(folder));
  const none = registryOf(folder);
  assert.equal(chooseInstance(folder, {}, none).path, folder);
  assert.equal(chooseInstance(undefined, { STANDIN_STATE: folder }, none).path, folder);
  assert.equal(chooseInstance(undefined, {}, registryOf(folder, "a")).path, folder);
});

test("chooseInstance() lists several, and says how to start one when there is none", (context) => {
  const folder = makeTemporaryFolder("standin-choose-");
  context.after(() => removeTree(folder));
  assert.throws(() => chooseInstance(undefined, {}, registryOf(folder)), { code: "NO_INSTANCE" });
  const two = registryOf(folder, "a", "b");
  assert.throws(() => chooseInstance(undefined, {}, two), {
    code: "SEVERAL_INSTANCES",
    hint: /\/srv\/a.*\/srv\/b/,
  });
});
