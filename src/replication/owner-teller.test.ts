import assert from "node:assert/strict";
import { test } from "node:test";

import { recordsOf } from "../../test/support/ops.ts";
import { StandinError } from "../base/errors.ts";
import type { NameService } from "../platform/name-service.ts";
import { OwnerTeller } from "./owner-teller.ts";

const MINUTES = 60_000;

/** A name service that can be changed, and that counts what it is asked for. */
class Names {
  users = new Map([[1, "ann"]]);
  groups = new Map([[7, "staff"]]);
  asked: string[] = [];
  isDown = false;

  readonly lookUp: NameService = async (kind, keys) => {
    this.asked.push(`${kind} ${keys.join()}`);
    if (this.isDown) throw new StandinError("NAME_SERVICE", "no answer");
    const all = kind === "user" ? this.users : this.groups;
    return [...all].flatMap(([id, name]) => (keys.includes(id) ? [{ id, name }] : []));
  };
}

function ops(...owners: (readonly [number, number])[]): Uint8Array {
  return recordsOf(
    1,
    owners.map((owner) => ({ owner })),
  ).payload;
}

test("each name is told once, before the op that has it", async () => {
  const names = new Names();
  const teller = new OwnerTeller(names.lookUp);
  assert.deepEqual(await teller.untold(ops([0, 0]), 0), [], "root needs no name");
  assert.deepEqual(await teller.untold(ops([1, 0], [1, 7]), 0), [
    { users: [[1, "ann"]], groups: [[7, "staff"]] },
  ]);
  assert.deepEqual(await teller.untold(ops([1, 7]), 0), []);
  assert.deepEqual(await teller.untold(ops([2, 7]), 0), [{ users: [[2, null]], groups: [] }]);
  assert.deepEqual(names.asked, ["user 1", "group 7", "user 2"]);
});

test("a new connection is told all again, without a new question", async () => {
  const names = new Names();
  const teller = new OwnerTeller(names.lookUp);
  await teller.untold(ops([1, 7]), 0);
  teller.connected();
  const asked = names.asked.length;
  assert.deepEqual(await teller.untold(ops([1, 7]), 0), [
    { users: [[1, "ann"]], groups: [[7, "staff"]] },
  ]);
  assert.equal(names.asked.length, asked);
});

test("a name that has changed, or that a number has got, is told", async () => {
  const names = new Names();
  const teller = new OwnerTeller(names.lookUp);
  await teller.untold(ops([1, 7], [2, 7]), 0);
  names.users = new Map([
    [1, "anna"],
    [2, "bob"],
  ]);
  assert.deepEqual(await teller.untold(ops([1, 7], [2, 7]), 0), [], "not asked for each op");
  assert.deepEqual(await teller.untold(ops([1, 7], [2, 7]), MINUTES), [
    { users: [[2, "bob"]], groups: [] },
  ]);
  assert.deepEqual(await teller.untold(ops([1, 7]), 10 * MINUTES), [
    { users: [[1, "anna"]], groups: [] },
  ]);
});

test("what is new is not sent while the name service is down; what is known is", async () => {
  const names = new Names();
  const teller = new OwnerTeller(names.lookUp);
  await teller.untold(ops([1, 7]), 0);
  names.isDown = true;
  assert.deepEqual(await teller.untold(ops([1, 7]), 20 * MINUTES), []);
  await assert.rejects(teller.untold(ops([2, 7]), 20 * MINUTES), { code: "NAME_SERVICE" });
  names.isDown = false;
  assert.deepEqual(await teller.untold(ops([2, 7]), 20 * MINUTES), [
    { users: [[2, null]], groups: [] },
  ]);
});

test("many names go in several messages", async () => {
  const teller = new OwnerTeller(new Names().lookUp);
  const many = Array.from({ length: 2500 }, (_, i) => [i + 100, 7] as const);
  const messages = await teller.untold(ops(...many), 0);
  assert.deepEqual(
    messages.map(({ users }) => users.length),
    [1000, 1000, 500],
  );
});
