import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { chooseReplicaFolder, refuseCaptured } from "./replica-folder.ts";

test("a source fills only an empty folder that no other replica is in", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "standin-replica-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const choose = (wanted: unknown, taken: { name: string; replica: string }[] = []) =>
    chooseReplicaFolder(wanted, "job", "/home-of-job", taken);
  assert.equal(choose(null), "/home-of-job/data");
  assert.equal(choose(folder), folder);
  assert.equal(choose(join(folder, "missing")), join(folder, "missing"));
  assert.throws(() => choose("etc"), { code: "REPLICA_PATH" });
  assert.throws(() => choose("/srv/../etc"), { code: "REPLICA_PATH" });
  const other = [{ name: "other", replica: "/srv/a" }];
  for (const wanted of ["/srv/a", "/srv", "/srv/a/b"]) {
    assert.throws(() => choose(wanted, other), { code: "REPLICA_IN_USE" });
  }
  assert.equal(choose("/srv/ab-that-is-missing", other), "/srv/ab-that-is-missing");
  writeFileSync(join(folder, "somebody's"), "");
  assert.throws(() => choose(folder), { code: "REPLICA_NOT_EMPTY" });
  assert.throws(() => choose(join(folder, "somebody's")), { code: "REPLICA_NOT_EMPTY" });
});

test("a replica does not lie in a folder that is captured", () => {
  const mount = (path: string, type: string) => ({ id: 1, device: "0:1", path, options: [], type });
  const table = [mount("/", "ext4"), mount("/srv", "fuse.standin"), mount("/srv/disk", "xfs")];
  assert.throws(() => refuseCaptured("/srv/replica", table), { code: "REPLICA_PROTECTED" });
  refuseCaptured("/srv/disk/replica", table);
  refuseCaptured("/var/lib/standin/replicas/1/data", table);
});
