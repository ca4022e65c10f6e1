import assert from "node:assert/strict";
import { test } from "node:test";

import { Sender, type SenderEffect, type SenderOptions } from "./sender.ts";

const OPTIONS: SenderOptions = {
  windowBytes: 100,
  frameBytes: 60,
  heartbeatMs: 1000,
  silenceMs: 5000,
  backoffMsMin: 100,
  backoffMsMax: 400,
};

const TICK = { kind: "tick" } as const;

/** Connected at 0 ms, to a target that has ops up to `durable`. */
function connected(durable = 0, available = durable, options = OPTIONS): Sender {
  const sender = new Sender(0, options);
  sender.step(TICK, 0);
  sender.step({ kind: "connected", durable, applied: durable }, 0);
  if (available > durable) sender.step({ kind: "available", lsn: available }, 0);
  return sender;
}

function kinds(effects: readonly SenderEffect[]): string[] {
  return effects.map(({ kind }) => kind);
}

function sent(sender: Sender, last: number, bytes = 10, nowMs = 0): SenderEffect[] {
  return sender.step({ kind: "sent", last, bytes }, nowMs);
}

test("connects once, at once", () => {
  const sender = new Sender(0, OPTIONS);
  assert.deepEqual(sender.step(TICK, 0), [{ kind: "connect" }]);
  assert.deepEqual(sender.step(TICK, 1), []);
  assert.equal(sender.phase, "connecting");
});

test("goes on behind what the target has made durable, in order, a frame at a time", () => {
  const sender = connected(7);
  const first = sender.step({ kind: "available", lsn: 12 }, 0);
  assert.deepEqual(first, [{ kind: "send", from: 8, bytesMax: 60 }]);
  assert.deepEqual(sender.step(TICK, 1), [], "one frame is in hand");
  assert.deepEqual(sent(sender, 10), [{ kind: "send", from: 11, bytesMax: 60 }]);
  assert.deepEqual(sent(sender, 12), []);
});

test("sends again what was not durable when the connection ended", () => {
  const sender = connected(0, 9);
  sent(sender, 9);
  sender.step({ kind: "positions", durable: 4, applied: 2 }, 10);
  sender.step({ kind: "disconnected" }, 20);
  sender.step(TICK, 120);
  const effects = sender.step({ kind: "connected", durable: 4, applied: 2 }, 130);
  assert.deepEqual(effects, [{ kind: "send", from: 5, bytesMax: 60 }]);
  assert.equal(sender.bytesInFlight, 0);
});

test("holds back when the window is full, until ops are durable", () => {
  const sender = connected(0, 9);
  assert.deepEqual(kinds(sent(sender, 1, 60)), ["send"]);
  assert.deepEqual(sent(sender, 2, 60), []);
  assert.equal(sender.bytesInFlight, 120);
  const effects = sender.step({ kind: "positions", durable: 1, applied: 0 }, 10);
  assert.deepEqual(effects, [{ kind: "send", from: 3, bytesMax: 60 }]);
  assert.equal(sender.bytesInFlight, 60);
});

test("holds back while the socket is full", () => {
  const sender = connected(0, 9);
  sender.step({ kind: "writable", isWritable: false }, 0);
  assert.deepEqual(sent(sender, 1), []);
  assert.deepEqual(kinds(sender.step({ kind: "writable", isWritable: true }, 1)), ["send"]);
});

test("keeps to the bandwidth that is allowed", () => {
  const sender = connected();
  sender.step({ kind: "allowance", bytes: 25 }, 0);
  const effects = sender.step({ kind: "available", lsn: 9 }, 0);
  assert.deepEqual(effects, [{ kind: "send", from: 1, bytesMax: 25 }]);
  assert.deepEqual(sent(sender, 1, 40), [], "an op may be larger than what is allowed");
  assert.deepEqual(kinds(sender.step({ kind: "allowance", bytes: 5 }, 10)), ["send"]);
});

test("does not ask again at once for what could not be read", () => {
  const sender = connected(0, 9);
  assert.deepEqual(sent(sender, 0, 0), []);
  assert.deepEqual(kinds(sender.step({ kind: "available", lsn: 9 }, 1)), ["send"]);
});

test("says something in every heartbeat, and nothing more", () => {
  const sender = connected();
  assert.deepEqual(sender.step(TICK, 999), []);
  assert.deepEqual(sender.step(TICK, 1000), [{ kind: "heartbeat" }]);
  assert.deepEqual(sender.step(TICK, 1999), []);
  sender.step({ kind: "available", lsn: 1 }, 1999);
  sent(sender, 1, 10, 1999);
  assert.deepEqual(sender.step(TICK, 2998), [], "ops are a sign of life, too");
});

test("gives a silent target up, and connects again", () => {
  const sender = connected();
  sender.step({ kind: "heard" }, 3000);
  assert.deepEqual(kinds(sender.step(TICK, 8000)), ["heartbeat"]);
  assert.deepEqual(kinds(sender.step(TICK, 8001)), ["close"]);
  assert.equal(sender.phase, "apart");
  assert.deepEqual(sender.step({ kind: "disconnected" }, 8001), [], "needs no answer");
  assert.deepEqual(kinds(sender.step(TICK, 8101)), ["connect"]);
});

test("waits longer after each failure, up to a limit, and begins anew after a success", () => {
  const sender = new Sender(0, OPTIONS);
  let nowMs = 0;
  for (const pauseMs of [100, 200, 400, 400]) {
    assert.deepEqual(kinds(sender.step(TICK, nowMs)), ["connect"]);
    sender.step({ kind: "disconnected" }, nowMs);
    assert.deepEqual(sender.step(TICK, nowMs + pauseMs - 1), []);
    nowMs += pauseMs;
  }
  sender.step(TICK, nowMs);
  sender.step({ kind: "connected", durable: 0, applied: 0 }, nowMs);
  sender.step({ kind: "disconnected" }, nowMs);
  assert.deepEqual(kinds(sender.step(TICK, nowMs + 100)), ["connect"]);
});

test("knows how far the target is, and believes it when its replica went back", () => {
  const sender = connected(5);
  sender.step({ kind: "available", lsn: 9 }, 0);
  sent(sender, 9);
  sender.step({ kind: "positions", durable: 8, applied: 7 }, 0);
  assert.deepEqual([sender.durable, sender.applied], [8, 7]);
  sender.step({ kind: "disconnected" }, 0);
  sender.step(TICK, 100);
  sender.step({ kind: "connected", durable: 8, applied: 3 }, 100);
  assert.deepEqual([sender.durable, sender.applied], [8, 3]);
});

test("ends a connection on which ops are acknowledged that were not sent", () => {
  const sender = connected(0, 9);
  sent(sender, 3);
  assert.deepEqual(kinds(sender.step({ kind: "positions", durable: 4, applied: 0 }, 0)), ["close"]);
  assert.equal(sender.durable, 0);
});

test("does not go on with a target that lost what it had acknowledged", () => {
  const sender = connected(5);
  sender.step({ kind: "disconnected" }, 0);
  sender.step(TICK, 100);
  assert.throws(() => sender.step({ kind: "connected", durable: 4, applied: 4 }, 100), /went back/);
});
