/** The fleet's state on disk: merges, single use, what survives, who may read it. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { type TestContext, test } from "node:test";

import { systemClock } from "../platform/clock.ts";
import { Database } from "../platform/database.ts";
import { createFleet } from "./enrollment.ts";
import { type FleetMember, isNewer, parseMembers } from "./fleet-member.ts";
import { FleetStore } from "./fleet-store.ts";

const ID = "0123456789abcdef0123456789abcdef";

function member(changes: Partial<FleetMember> = {}): FleetMember {
  return {
    id: ID,
    name: "b",
    addresses: ["10.0.0.2:7400"],
    isAuthority: false,
    expiresMs: 5,
    revision: 1,
    removedMs: null,
    isRemoved: false,
    ...changes,
  };
}

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(`${tmpdir()}/standin-store-`);
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test("identity and members survive, in files for the owner only", async (t) => {
  const folder = folderFor(t);
  const store = FleetStore.open(`${folder}/fleet.db`);
  assert.throws(() => store.identity, { code: "NO_FLEET" });
  await createFleet(store, "a", systemClock);
  assert.equal(store.mergeMembers([member()]), true);
  assert.equal(store.mergeMembers([member()]), false, "the same is no news");
  for (const name of readdirSync(folder)) {
    assert.equal(statSync(`${folder}/${name}`).mode & 0o777, 0o600, name);
  }
  const { identity } = store;
  store.close();
  const again = FleetStore.open(`${folder}/fleet.db`);
  t.after(() => again.close());
  assert.deepEqual(again.identity, identity);
  assert.ok(again.identity.authority !== undefined);
  assert.deepEqual(again.findMember("b"), member());
  assert.deepEqual(again.findMember(ID), member());
  again.removeMember(ID, 77);
  assert.throws(() => again.findMember("b"), { code: "AGENT_REMOVED" });
  assert.throws(() => again.findMember("c"), { code: "UNKNOWN_AGENT" });
  again.mergeMembers([member({ revision: 9 })]);
  assert.equal(again.memberById(ID)?.removedMs, 77, "a removal is final");
});

test("an invitation is used once, by one of two, and only in time", async (t) => {
  const folder = folderFor(t);
  const store = FleetStore.open(`${folder}/fleet.db`);
  t.after(() => store.close());
  await createFleet(store, "a", systemClock);
  store.addInvitation({ id: "i1", secretHash: "h", expiresMs: 100 }, 0);
  const admit = (changes: Partial<FleetMember>, nowMs: number, hash = "h"): void =>
    store.admit("i1", hash, member(changes), nowMs);
  assert.throws(() => admit({}, 50, "wrong"), { code: "INVITATION_UNKNOWN" });
  assert.throws(() => admit({}, 100), { code: "INVITATION_EXPIRED" });
  assert.throws(() => admit({ name: "a" }, 50), { code: "NAME_TAKEN" });
  admit({}, 50);
  const other = "f".repeat(32);
  assert.throws(() => admit({ id: other, name: "c" }, 50), { code: "INVITATION_USED" });
  assert.equal(store.memberById(other), undefined);
  store.removeMember(ID, 60);
  store.addInvitation({ id: "i2", secretHash: "h", expiresMs: 100 }, 0);
  store.admit("i2", "h", member({ id: other }), 61); // the name is free again
});

test("the newer line wins, and a removal over all", () => {
  assert.equal(isNewer(member(), undefined), true);
  assert.equal(isNewer(member({ revision: 2 }), member()), true);
  assert.equal(isNewer(member(), member({ revision: 2 })), false);
  const removed = member({ removedMs: 1, isRemoved: true });
  assert.equal(isNewer(removed, member({ revision: 9 })), true);
  assert.equal(isNewer(member({ revision: 9 }), removed), false);
});

test("a list that a peer sends is read with suspicion", () => {
  assert.deepEqual(parseMembers(JSON.parse(JSON.stringify([member()]))), [member()]);
  const bad: unknown[] = [
    null,
    {},
    [null],
    [member({ id: "x" })],
    [member({ name: "../x" })],
    [{ ...member(), addresses: [7] }],
    [{ ...member(), addresses: ["x".repeat(300)] }],
    [member({ revision: -1 })],
    [member({ expiresMs: Number.NaN })],
    [{ ...member(), removedMs: "yes" }],
    Array.from({ length: 5000 }, () => member()),
  ];
  for (const value of bad) assert.equal(parseMembers(value), undefined);
});

test("a newer release's state is refused, and so is a damaged one; migrations run once", (t) => {
  const folder = folderFor(t);
  const path = `${folder}/x.db`;
  Database.open(path, ["CREATE TABLE a (x)", "INSERT INTO a VALUES (1)"]).close();
  const database = Database.open(path, [
    "CREATE TABLE a (x)",
    "INSERT INTO a VALUES (1)",
    "INSERT INTO a VALUES (2)",
  ]);
  assert.deepEqual(
    database.all("SELECT x FROM a").map((row) => row.x),
    [1, 2],
  );
  const fails = (): void =>
    database.transaction(() => {
      database.run("INSERT INTO a VALUES (3)");
      throw new Error("no");
    });
  assert.throws(fails, /no/);
  assert.equal(database.get("SELECT count(*) AS n FROM a")?.n, 2);
  database.close();
  assert.throws(() => Database.open(path, ["CREATE TABLE a (x)"]), { code: "STATE_NEWER" });
  writeFileSync(`${folder}/y.db`, "this is no database, and never was one".repeat(100));
  assert.throws(() => Database.open(`${folder}/y.db`, []), { code: "STATE_DAMAGED" });
});
