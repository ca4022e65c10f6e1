import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { after, test } from "node:test";
import { Ring, RingReader, RingWriter } from "../journal/ring.ts";
import { HeaderAt } from "../journal/ring-layout.ts";
import { OpKind } from "../model/op.ts";
import { Intents, NOT_RECORDED } from "./intents.ts";

const home = mkdtempSync("/dev/shm/standin-intents-");
after(() => rmSync(home, { recursive: true, force: true }));

let count = 0;
function newRing(arenas = 3): Ring {
  count += 1;
  const sizes = { arenas, indexSlots: 256, arenaBytes: 4 << 20 };
  return Ring.create(`${home}/ring-${count}`, sizes);
}

/** Publishes one small record; returns its place. */
function publish(ring: Ring, arena: number): number {
  const writer = new RingWriter(ring, arena);
  const at = writer.reserve(4096);
  writer.op.at(at).start(OpKind.forget, 0, 1);
  const { start } = writer;
  writer.publish(80);
  return start;
}

/** What the next engine does first. */
function restart(ring: Ring): Intents {
  ring.voidHoles();
  const intents = new Intents(ring, 0, 0);
  intents.collectDoubts();
  return intents;
}

test("Intents tell a request that was begun from one that was recorded", () => {
  const ring = newRing();
  new Intents(ring, 0, 0).begin(10, 4, publish(ring, 0) + 80, 1, 2, 3);
  new Intents(ring, 1, 0).begin(12, 5, publish(ring, 1), 4, 5, 6);
  new Intents(ring, 2, 0).begin(14, 6, NOT_RECORDED, 7, 8, 9);
  const doubts = restart(ring);
  assert.equal(doubts.doubt(10)?.recorded, false);
  assert.deepEqual(doubts.doubt(10)?.witness, [1, 2, 3]);
  assert.equal(doubts.doubt(12)?.recorded, true);
  assert.equal(doubts.doubt(12)?.opcode, 5);
  assert.equal(doubts.doubt(14)?.recorded, false);
  assert.equal(doubts.doubt(16), undefined, "never begun");
});

test("Intents keep only the last request of each worker", () => {
  const ring = newRing();
  const intents = new Intents(ring, 0, 0);
  intents.begin(10, 4, 0, 1, 0, 0);
  intents.begin(12, 4, 0, 2, 0, 0);
  const doubts = restart(ring);
  assert.equal(doubts.doubt(10), undefined);
  assert.deepEqual(doubts.doubt(12)?.witness, [2, 0, 0]);
});

test("Intents see a record that the reader has released already", () => {
  const ring = newRing();
  const start = publish(ring, 1);
  new Intents(ring, 1, 0).begin(12, 5, start, 0, 0, 0);
  const reader = new RingReader(ring);
  assert.ok(reader.peek());
  reader.release();
  assert.equal(restart(ring).doubt(12)?.recorded, true);
});

test("Intents tell the mounts of a job apart: each counts its own requests", () => {
  const ring = newRing();
  new Intents(ring, 0, 0).begin(10, 4, 0, 1, 0, 0);
  new Intents(ring, 1, 5).begin(10, 9, 0, 2, 0, 0);
  restart(ring);
  assert.equal(new Intents(ring, 0, 0).doubt(10)?.opcode, 4);
  assert.equal(new Intents(ring, 1, 5).doubt(10)?.opcode, 9);
  assert.equal(new Intents(ring, 2, 6).doubt(10), undefined);
});

test("Intents forget a mount whose connection is new, and no other", () => {
  const ring = newRing();
  new Intents(ring, 0, 0).begin(10, 4, 0, 1, 0, 0);
  new Intents(ring, 1, 1).begin(10, 4, 0, 1, 0, 0);
  restart(ring);
  new Intents(ring, 1, 0).begin(12, 4, 0, 1, 0, 0);
  new Intents(ring, 2, 0).forget(0);
  assert.equal(restart(ring).doubt(10), undefined);
  assert.equal(restart(ring).doubt(12), undefined);
  assert.notEqual(new Intents(ring, 0, 1).doubt(10), undefined);
});

test("Intents of a mount with few requests are not pushed out by one with many", () => {
  const ring = newRing();
  const engine = (busy: number, quiet?: number) => {
    new Intents(ring, 0, 0).begin(busy, 4, 0, 1, 0, 0);
    new Intents(ring, 1, 0).begin(busy + 1, 4, 0, 1, 0, 0);
    if (quiet !== undefined) new Intents(ring, 2, 1).begin(quiet, 4, 0, 1, 0, 0);
    restart(ring);
    ring.addWord(HeaderAt.engineGeneration, 1);
  };
  engine(1000);
  engine(2000);
  engine(3000);
  engine(4000, 7);
  assert.notEqual(new Intents(ring, 2, 1).doubt(7), undefined);
  assert.notEqual(new Intents(ring, 0, 0).doubt(4000), undefined);
  assert.equal(new Intents(ring, 0, 0).doubt(1000), undefined, "the oldest made room");
});

test("Intents survive an engine that is killed before it served anything", () => {
  const ring = newRing();
  new Intents(ring, 0, 0).begin(10, 4, publish(ring, 0), 1, 2, 3);
  for (let crash = 0; crash < 20; crash++) restart(ring);
  assert.equal(restart(ring).doubt(10)?.recorded, true);
  assert.deepEqual(restart(ring).doubt(10)?.witness, [1, 2, 3]);
});

test("Intents survive two crashes in the same request, whatever the second engine got to", () => {
  const ring = newRing();
  new Intents(ring, 0, 0).begin(10, 4, 9999, 1, 2, 3);
  const second = restart(ring);
  assert.equal(second.doubt(10)?.recorded, false);
  // Begun again, on another arena, and recorded there; killed before it settled the doubt.
  new Intents(ring, 1, 0).begin(10, 4, publish(ring, 1), 4, 5, 6);
  const third = restart(ring);
  assert.equal(third.doubt(10)?.recorded, true, "the later line counts");
  assert.deepEqual(third.doubt(10)?.witness, [4, 5, 6]);
  const doubt = third.doubt(10);
  assert.ok(doubt);
  third.settle(doubt);
  assert.equal(third.doubt(10), undefined, "there was one line only");
});

test("Intents give up the oldest doubts when there is no room for more", () => {
  const ring = newRing(2);
  for (let crash = 0; crash < 4; crash++) {
    new Intents(ring, 0, 0).begin(100 + crash * 4, 4, 0, 0, 0, 0);
    new Intents(ring, 1, 0).begin(102 + crash * 4, 4, 0, 0, 0, 0);
    restart(ring);
  }
  const doubts = new Intents(ring, 0, 0);
  const known = [100, 102, 104, 106, 108, 110, 112, 114].filter((unique) => doubts.doubt(unique));
  assert.deepEqual(known, [108, 110, 112, 114]);
});
