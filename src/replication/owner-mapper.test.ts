import assert from "node:assert/strict";
import { test } from "node:test";

import { recordsOf } from "../../test/support/ops.ts";
import { StandinError } from "../base/errors.ts";
import { forEachRecord } from "../model/op-records.ts";
import type { Clock } from "../platform/clock.ts";
import type { OwnerNames } from "../protocol/stream-messages.ts";
import { OwnerMapper } from "./owner-mapper.ts";

const NONE: OwnerNames = { users: [], groups: [] };
const TOLD: OwnerNames = { users: [[1, "ann"]], groups: [[7, "staff"]] };

/** A target on which ann has the number 2001 and staff 2007, and a clock that runs in sleeps. */
class Target {
  users = new Map([["ann", 2001]]);
  groups = new Map([["staff", 2007]]);
  saved: OwnerNames = NONE;
  asked = 0;
  downUntilMs = 0;
  isFull = false;
  nowMs = 0;
  readonly signal = new AbortController();

  mapper(names = this.saved): OwnerMapper {
    const clock: Clock = {
      monotonicMs: () => this.nowMs,
      wallMs: () => this.nowMs,
      sleep: async (ms) => {
        this.nowMs += ms;
        if (this.nowMs > 3_600_000) this.signal.abort();
      },
    };
    return new OwnerMapper({
      clock,
      names,
      lookUp: async (kind, keys) => {
        this.asked += 1;
        if (this.nowMs < this.downUntilMs) throw new StandinError("NAME_SERVICE", "is down");
        const all = kind === "user" ? this.users : this.groups;
        return [...all].flatMap(([name, id]) => (keys.includes(name) ? [{ name, id }] : []));
      },
      save: (all) => {
        if (this.isFull) throw new Error("ENOSPC");
        this.saved = all;
      },
    });
  }

  /** Owners as the applier gets them. */
  async mapped(mapper: OwnerMapper, ...owners: (readonly [number, number])[]) {
    const { payload } = recordsOf(
      1,
      owners.map((owner) => ({ owner })),
    );
    await mapper.prepare(payload, this.signal.signal);
    const found: [number, number][] = [];
    forEachRecord(payload, (op) => {
      mapper.change(op);
      found.push([op.uid, op.gid]);
    });
    return found;
  }
}

test("owners get the numbers that their names have here; root stays root", async () => {
  const target = new Target();
  const mapper = target.mapper();
  mapper.learn(TOLD);
  assert.deepEqual(await target.mapped(mapper, [1, 7], [0, 0], [1, 0]), [
    [2001, 2007],
    [0, 0],
    [2001, 0],
  ]);
  assert.deepEqual(mapper.unknown, { count: 0, names: [] });
  await target.mapped(mapper, [1, 7]);
  assert.equal(target.asked, 2, "each kind once");
});

test("names are kept, and are known without the source", async () => {
  const target = new Target();
  target.mapper().learn(TOLD);
  assert.deepEqual(target.saved, TOLD);
  assert.deepEqual(await target.mapped(target.mapper(), [1, 7]), [[2001, 2007]]);
});

test("what could not be kept is not taken for known", () => {
  const target = new Target();
  const mapper = target.mapper();
  target.isFull = true;
  assert.throws(() => mapper.learn(TOLD), /ENOSPC/);
  target.isFull = false;
  mapper.learn(TOLD);
  assert.deepEqual(target.saved, TOLD);
});

test("who is unknown keeps the number and is named, until there is such a user", async () => {
  const target = new Target();
  const mapper = target.mapper();
  const users = [
    [1, "ann"],
    [2, "bob"],
    [3, null],
    [4, "2001"],
  ] as const;
  mapper.learn({ users, groups: [[7, "staff"]] });
  const owners = [
    [2, 7],
    [3, 7],
    [4, 7],
    [5, 8],
  ] as const;
  const kept = [
    [2, 2007],
    [3, 2007],
    [4, 2007],
    [5, 8],
  ];
  assert.deepEqual(await target.mapped(mapper, ...owners), kept);
  assert.deepEqual(mapper.unknown, {
    count: 5,
    names: [
      "user bob",
      "user 3 (nameless)",
      "user 2001",
      "user 5 (nameless)",
      "group 8 (nameless)",
    ],
  });
  target.users.set("bob", 2002);
  target.nowMs += 5000;
  assert.deepEqual(await target.mapped(mapper, [2, 7]), [[2002, 2007]]);
  assert.equal(mapper.unknown.count, 4);
});

test("a changed name holds for what follows, not for what is decided", async () => {
  const target = new Target();
  const mapper = target.mapper();
  mapper.learn(TOLD);
  const { payload } = recordsOf(1, [{ owner: [1, 7] }]);
  await mapper.prepare(payload, target.signal.signal);
  mapper.learn({ users: [[1, "bob"]], groups: [] });
  target.users.set("bob", 2002);
  forEachRecord(payload, (op) => {
    mapper.change(op);
    assert.equal(op.uid, 2001);
  });
  assert.deepEqual(await target.mapped(mapper, [1, 7]), [[2002, 2007]]);
});

test("while the name service is down, what is new waits and says so", async () => {
  const target = new Target();
  const mapper = target.mapper(TOLD);
  target.downUntilMs = 10_000;
  const mapping = target.mapped(mapper, [1, 7]);
  await Promise.resolve();
  await Promise.resolve();
  assert.match(mapper.problem ?? "", /owners by name: is down/);
  assert.deepEqual(await mapping, [[2001, 2007]]);
  assert.equal(mapper.problem, undefined);
});

test("while the name service is down, what was decided holds", async () => {
  const target = new Target();
  const mapper = target.mapper(TOLD);
  await target.mapped(mapper, [1, 7]);
  target.nowMs = 700_000;
  target.downUntilMs = Number.POSITIVE_INFINITY;
  assert.deepEqual(await target.mapped(mapper, [1, 7]), [[2001, 2007]]);
  assert.equal(target.nowMs, 700_000, "nothing was waited for");
  target.downUntilMs = 0;
  target.users.set("ann", 2002);
  assert.deepEqual(await target.mapped(mapper, [1, 7]), [[2002, 2007]], "asked again");
});

test("more names than a target keeps are not kept", () => {
  const target = new Target();
  const mapper = target.mapper();
  const users = Array.from({ length: 70_000 }, (_, i) => [i + 1, `user${i}`] as const);
  mapper.learn({ users, groups: [] });
  assert.equal(target.saved.users.length, 65_536);
});
