import assert from "node:assert/strict";
import { test } from "node:test";

import { makeTemporaryFolder, removeTree, writeSmallFile } from "../platform/files.ts";
import { identify } from "../platform/processes.ts";
import { InstanceRegistry, type RegistryEntry } from "./instance-registry.ts";

const OURSELVES = identify(process.pid)!;

function entry(id: string, change: Partial<RegistryEntry> = {}): RegistryEntry {
  return {
    id,
    stateDirectory: `/state/${id}`,
    source: `/srv/${id}`,
    replica: `/copy/${id}`,
    agent: OURSELVES,
    ...change,
  };
}

test("InstanceRegistry lists what runs, and what was killed apart from it", (context) => {
  const folder = makeTemporaryFolder("standin-registry-");
  context.after(() => removeTree(folder));
  const registry = new InstanceRegistry(folder);
  registry.add(entry("b"));
  registry.add(entry("a"));
  registry.add(entry("killed", { agent: { pid: OURSELVES.pid, startTicks: 1 } }));
  writeSmallFile(`${folder}/torn.json`, '{"id":"to');
  assert.deepEqual(
    registry.running().map(({ id }) => id),
    ["a", "b"],
  );
  assert.equal(registry.all().length, 3);
  assert.deepEqual(
    registry.othersThan("a").map(({ source }) => source),
    ["/srv/b"],
  );
  registry.remove("b");
  assert.equal(registry.running().length, 1);
});

test("InstanceRegistry is empty where its folder does not exist", () => {
  assert.deepEqual(new InstanceRegistry("/nonexistent/registry").all(), []);
});

test("InstanceRegistry.tryLock() is for one at a time, and free again after it", (context) => {
  const folder = makeTemporaryFolder("standin-registry-");
  context.after(() => removeTree(folder));
  const registry = new InstanceRegistry(folder);
  const lock = registry.tryLock();
  assert.notEqual(lock, undefined);
  assert.equal(registry.tryLock(), undefined);
  lock?.release();
  registry.tryLock()?.release();
});
