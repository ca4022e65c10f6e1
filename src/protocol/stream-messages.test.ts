import assert from "node:assert/strict";
import { test } from "node:test";

import { FrameError } from "./frame.ts";
import {
  parseOwnerNames,
  parsePositions,
  parseSourceState,
  parseStreamHello,
  parseTargetState,
  positionsPayload,
} from "./stream-messages.ts";

const HELLO = {
  job: "0123456789abcdef",
  name: "mail",
  stream: "00".repeat(16),
  life: 1,
  firstLsn: 1,
  lastLsn: 9,
  epoch: 1,
  mounts: [{ index: 0, path: "/srv/mail", rootIno: 2, folder: "mail" }],
  include: [],
  exclude: ["**/cache/**"],
  orphans: "aside",
  owners: "name",
  onFailureSeconds: null,
  startCommand: null,
  onward: {
    index: 1,
    targets: [{ agent: "c", index: 2, replica: null, limitBytes: 4096, schedule: [] }],
  },
};

test("a hello comes out as it went in", () => {
  assert.deepEqual(parseStreamHello(JSON.parse(JSON.stringify(HELLO))), HELLO);
});

test("a hello that could lead out of the state folder, or has a field wrong, is refused", () => {
  const wrong: Record<string, unknown>[] = [
    { job: "../../etc" },
    { job: "" },
    { stream: "0" },
    { life: -1 },
    { firstLsn: 1.5 },
    { lastLsn: "9" },
    { epoch: Number.NaN },
    { mounts: [{ index: 70_000, path: "/", rootIno: 2 }] },
    { mounts: [{ index: 0, path: "relative", rootIno: 2 }] },
    { mounts: [null] },
    { mounts: [] },
    { mounts: [{ ...HELLO.mounts[0], folder: ".." }] },
    { mounts: [{ ...HELLO.mounts[0], folder: "a/b" }] },
    { mounts: [HELLO.mounts[0], { ...HELLO.mounts[0], folder: "other" }] },
    { mounts: [HELLO.mounts[0], { ...HELLO.mounts[0], index: 1 }] },
    { mounts: "all" },
    { include: [1] },
    { orphans: "eat" },
    { owners: "nobody" },
    { onFailureSeconds: -5 },
    { onward: { targets: [] } },
    { onward: { index: 0, targets: [{ agent: "c", index: -1, schedule: [] }] } },
    { onward: { index: 0, targets: [{ agent: 7, index: 1, schedule: [] }] } },
    { onward: { index: 0, targets: [{ agent: "c", index: 1, schedule: "always" }] } },
  ];
  for (const fields of wrong) {
    const hello = { ...HELLO, ...fields };
    assert.throws(() => parseStreamHello(hello), FrameError, JSON.stringify(fields));
  }
});

test("positions come out as they went in, and cannot contradict themselves", () => {
  const positions = { received: 2 ** 40, durable: 7, applied: 3 };
  assert.deepEqual(parsePositions(positionsPayload(positions)), positions);
  assert.throws(() => parsePositions(new Uint8Array(23)), FrameError);
  assert.throws(() => parsePositions(positionsPayload({ ...positions, durable: 2 ** 41 })), {
    name: "FrameError",
  });
});

test("what a peer says in between is checked too", () => {
  assert.deepEqual(parseTargetState({ asks: [[1, 2, 0, 42, 0, 0]], unknown: 1 }), {
    asks: [[1, 2, 0, 42, 0, 0]],
  });
  for (const wrong of [{ asks: [[1, 2]] }, { asks: [[1, 2, 3, 4, 5, -6]] }, { copy: {} }]) {
    assert.throws(() => parseTargetState(wrong), FrameError);
  }
  assert.throws(() => parseSourceState({ recording: 1 }), FrameError);
});

test("names of owners are names that can be looked up, and nothing else", () => {
  const users = [
    [1000, "ann"],
    [4294967295, "DOMAIN\\bob smith"],
    [7, null],
  ];
  assert.deepEqual(parseOwnerNames({ users, groups: [] }), { users, groups: [] });
  const wrong = [[-1, "a"], [1.5, "a"], [2 ** 32, "a"], ["1", "a"], [1], [1, "a", 2], [1, 2], null];
  const names = ["", "-x", "a:b", "a\nb", "a\0", "x".repeat(257)];
  for (const entry of [...wrong, ...names.map((name) => [1, name])]) {
    const message = JSON.stringify(entry);
    assert.throws(() => parseOwnerNames({ users: [entry], groups: [] }), FrameError, message);
    assert.throws(() => parseOwnerNames({ users: [], groups: [entry] }), FrameError, message);
  }
  assert.throws(() => parseOwnerNames({ users: [] }), FrameError);
});
