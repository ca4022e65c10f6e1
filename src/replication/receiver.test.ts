import assert from "node:assert/strict";
import { test } from "node:test";

import { Receiver, type ReceiverEffect, type ReceiverOptions } from "./receiver.ts";

const OPTIONS: ReceiverOptions = {
  heartbeatMs: 1000,
  appliedMs: 50,
  silenceMs: 5000,
  retryMs: 300,
  syncPauseMsMax: 20,
  syncBytes: 1000,
};

const TICK = { kind: "tick" } as const;

/** A source is connected since 0 ms, as connection 1. */
function connected(durable = 0, applied = durable): Receiver {
  const receiver = new Receiver(durable, applied, OPTIONS);
  receiver.step({ kind: "opened", connection: 1 }, 0);
  return receiver;
}

function ops(receiver: Receiver, first: number, last: number, connection = 1): ReceiverEffect[] {
  return receiver.step({ kind: "ops", connection, first, last, bytes: 10 }, 0);
}

function kinds(effects: readonly ReceiverEffect[]): string[] {
  return effects.map(({ kind }) => kind);
}

test("welcomes a source with how far it is", () => {
  const receiver = new Receiver(7, 5, OPTIONS);
  const effects = receiver.step({ kind: "opened", connection: 1 }, 0);
  assert.deepEqual(effects, [{ kind: "welcome", connection: 1, durable: 7, applied: 5 }]);
  assert.ok(receiver.isConnected);
});

test("takes ops in order, and has them synced while more come", () => {
  const receiver = connected();
  assert.deepEqual(kinds(ops(receiver, 1, 3)), ["append", "sync"]);
  assert.deepEqual(kinds(ops(receiver, 4, 5)), ["append"], "one sync at a time");
  const effects = receiver.step({ kind: "synced", durable: 3 }, 0);
  assert.deepEqual(effects, [
    { kind: "sync" },
    { kind: "positions", connection: 1, received: 5, durable: 3, applied: 0 },
  ]);
});

test("leaves the disk to others behind a sync of few ops, in proportion to what it took", () => {
  const receiver = connected();
  ops(receiver, 1, 3);
  ops(receiver, 4, 5);
  assert.deepEqual(kinds(receiver.step({ kind: "synced", durable: 3 }, 2)), ["positions"]);
  assert.deepEqual(receiver.step(TICK, 9), []);
  assert.deepEqual(receiver.step(TICK, 10), [{ kind: "sync" }]);
  receiver.step({ kind: "synced", durable: 5 }, 1010);
  const late = { kind: "ops", connection: 1, first: 6, last: 6, bytes: 10 } as const;
  assert.deepEqual(kinds(receiver.step(late, 1029)), ["append"], "the longest pause is 20");
  assert.deepEqual(receiver.step(TICK, 1030), [{ kind: "sync" }]);
  receiver.step({ kind: "synced", durable: 6 }, 1030);
  const idle = { ...late, first: 7, last: 7 };
  assert.deepEqual(kinds(receiver.step(idle, 2000)), ["append", "sync"], "nothing came before");
});

test("makes no pause while much waits for the sync, but waits for a disk that is full", () => {
  const receiver = connected();
  ops(receiver, 1, 3);
  receiver.step({ kind: "synced", durable: 3 }, 100);
  const much = { kind: "ops", connection: 1, first: 4, last: 9, bytes: 1000 } as const;
  assert.deepEqual(kinds(receiver.step(much, 101)), ["append", "sync"]);
  receiver.step({ kind: "refused" }, 102);
  assert.deepEqual(receiver.step({ ...much, first: 10, last: 10 }, 103), [{ kind: "append" }]);
  assert.deepEqual(receiver.step(TICK, 402), [{ kind: "sync" }]);
});

test("acknowledges nothing that the log has not said to be durable", () => {
  const receiver = connected();
  ops(receiver, 1, 3);
  const [positions] = receiver.step(TICK, 1000);
  assert.deepEqual(positions, {
    kind: "positions",
    connection: 1,
    received: 3,
    durable: 0,
    applied: 0,
  });
});

test("takes no op twice", () => {
  const receiver = connected();
  ops(receiver, 1, 3);
  assert.deepEqual(ops(receiver, 1, 3), []);
  assert.deepEqual(ops(receiver, 2, 2), []);
  assert.deepEqual([receiver.received, receiver.duplicates], [3, 4]);
});

test("ends a connection on which ops are missing, or partly there", () => {
  for (const [first, last] of [
    [5, 6],
    [3, 4],
  ] as const) {
    const receiver = connected();
    ops(receiver, 1, 3);
    assert.deepEqual(kinds(ops(receiver, first, last)), ["close"]);
    assert.equal(receiver.received, 3);
    assert.deepEqual(ops(receiver, 4, 4), [], "and takes nothing more from it");
    assert.ok(!receiver.isConnected);
  }
});

test("closes the older connection, and looks at nothing that still comes on it", () => {
  const receiver = connected();
  const effects = receiver.step({ kind: "opened", connection: 2 }, 0);
  assert.deepEqual(kinds(effects), ["close", "welcome"]);
  assert.deepEqual(ops(receiver, 1, 1, 1), []);
  receiver.step({ kind: "closed", connection: 1 }, 0);
  assert.ok(receiver.isConnected);
  receiver.step({ kind: "heard", connection: 1 }, 5000);
  assert.deepEqual(kinds(receiver.step(TICK, 5001)), ["close"], "nor is it a sign of life");
});

test("makes durable what an earlier connection brought before it welcomes the next", () => {
  const receiver = connected();
  ops(receiver, 1, 3);
  const effects = receiver.step({ kind: "opened", connection: 2 }, 0);
  assert.deepEqual(kinds(effects), ["close"]);
  assert.deepEqual(ops(receiver, 1, 1, 2), [], "nobody was welcomed yet");
  assert.deepEqual(receiver.step({ kind: "synced", durable: 3 }, 1), [
    { kind: "welcome", connection: 2, durable: 3, applied: 0 },
  ]);
});

test("has what was refused synced again after a pause, and loses nothing", () => {
  const receiver = connected();
  ops(receiver, 1, 3);
  assert.deepEqual(receiver.step({ kind: "refused" }, 100), []);
  assert.deepEqual(kinds(ops(receiver, 4, 4)), ["append"]);
  assert.deepEqual(receiver.step(TICK, 399), []);
  assert.deepEqual(receiver.step(TICK, 400), [{ kind: "sync" }]);
  receiver.step({ kind: "synced", durable: 4 }, 401);
  assert.equal(receiver.durable, 4);
});

test("syncs what a source left behind though nobody is connected", () => {
  const receiver = connected();
  ops(receiver, 1, 3);
  receiver.step({ kind: "refused" }, 0);
  receiver.step({ kind: "closed", connection: 1 }, 0);
  assert.deepEqual(receiver.step(TICK, 300), [{ kind: "sync" }]);
});

test("tells how far it is when that changes, and in every heartbeat", () => {
  const receiver = connected(9, 0);
  assert.deepEqual(receiver.step({ kind: "applied", lsn: 1 }, 49), [], "not too often");
  const told = { kind: "positions", connection: 1, received: 9, durable: 9, applied: 1 };
  assert.deepEqual(receiver.step(TICK, 50), [told]);
  assert.deepEqual(receiver.step(TICK, 1049), []);
  assert.deepEqual(receiver.step(TICK, 1050), [told]);
});

test("gives a silent source up", () => {
  const receiver = connected();
  receiver.step({ kind: "heard", connection: 1 }, 3000);
  assert.deepEqual(kinds(receiver.step(TICK, 8000)), ["positions"]);
  assert.deepEqual(kinds(receiver.step(TICK, 8001)), ["close"]);
  assert.deepEqual(receiver.step(TICK, 20_000), []);
});

test("a log that syncs what was not received is a broken invariant", () => {
  const receiver = connected();
  assert.throws(() => receiver.step({ kind: "synced", durable: 1 }, 0), /is not received/);
});
