import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { chooseReplicaFolder } from "./replica-folder.ts";

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
