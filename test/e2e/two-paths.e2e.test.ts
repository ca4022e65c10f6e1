/**
 * Several paths in one job: what is written to them, in turns, is on the replicas in the same order,
 * whatever is killed; and all of them are verified, promoted and given back together.
 *
 * STANDIN_CUTS: how often the source is killed (2), STANDIN_KILLS: how often engines and agents are
 * (6), STANDIN_SEED.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { Servers } from "../support/two-servers.ts";

const skip = skipUnless("root", "fuse", "fuse-resend");
const timeout = 240_000;

/** `source` and `other/source`, whose replicas' folders need a suffix. */
async function twoPaths(t: TestContext): Promise<{ servers: Servers; a: string; b: string }> {
  const servers = await Servers.start(t);
  const b = servers.addFolder("other/source");
  return { servers, a: servers.folder, b };
}

function assertEqual(servers: Servers): void {
  for (const folder of servers.folders) {
    const replica = servers.replica(servers.target, folder);
    assert.deepEqual(compareTrees(folder, replica), [], folder);
  }
}

test("two paths are mirrored and kept, verified, and given back", {
  skip,
  timeout,
}, async (t) => {
  const { servers, a, b } = await twoPaths(t);
  for (const folder of [a, b]) {
    mkdirSync(join(folder, "cache"));
    mkdirSync(join(folder, "same/name"), { recursive: true });
    writeFileSync(join(folder, "same/name/file"), `before, in ${folder}`.repeat(30_000));
    writeFileSync(join(folder, "cache/left-out"), "");
  }
  await servers.protect("--exclude", "/cache");
  const { folders } = servers.replicaStatus();
  assert.deepEqual(
    folders.map(({ path, replica, state }) => [path, replica.split("/").at(-1), state]),
    [
      [a, "source", "complete"],
      [b, "source-2", "complete"],
    ],
  );
  for (const folder of [a, b]) {
    rmSync(join(folder, "cache"), { recursive: true });
    writeFileSync(join(folder, "same/live"), `live, in ${folder}`);
  }
  servers.flush();
  assertEqual(servers);
  assert.deepEqual(
    servers.status().folders.map(({ state }) => state),
    ["captured", "captured"],
  );
  const planted = join(servers.replica(servers.target, b), "same/name/file");
  writeFileSync(planted, "somebody wrote here");
  const found = servers.source.command("verify", "data");
  assert.equal(found.code, 1, "verify finds it");
  assert.match(found.stdout, new RegExp(`${b}/same/name/file: .*size`));
  assert.equal(servers.source.command("verify", "data", "--repair").code, 0);
  servers.flush();
  assertEqual(servers);
  assert.equal(servers.source.command("unprotect", "data").code, 0);
  await servers.untilUnmounted();
  for (const folder of [a, b]) {
    assert.equal(readFileSync(join(folder, "same/live"), "utf8"), `live, in ${folder}`);
  }
});
