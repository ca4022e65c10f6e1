import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";

import { range } from "../../test/support/log-entries.ts";
import { Prng } from "../base/prng.ts";
import { RingFramer } from "../journal/ring-framer.ts";
import { Ring, RingWriter } from "../journal/ring.ts";
import { SegmentLog } from "../journal/segment-log.ts";
import { OP_HEADER_BYTES, OpKind } from "../model/op.ts";
import { makeTemporaryFolder, removeTree } from "../platform/files.ts";
import { MemoryLogFiles } from "../platform/memory-log-files.ts";
import { PayloadPool } from "../protocol/frame.ts";
import { OpStore } from "./op-store.ts";

const OP_BYTES = 1 << 20;

function publish(ring: Ring, writer: RingWriter, count: number): void {
  for (let i = 0; i < count; i++) {
    const size = OP_HEADER_BYTES + OP_BYTES;
    const op = writer.op.at(writer.reserve(size));
    op.start(OpKind.write, 0, 1);
    op.size = size;
    op.length = OP_BYTES;
    writer.publish(size);
  }
  assert.ok(ring.fill(0) > 0.5, "it is crowded");
}

interface Crowded {
  readonly ring: Ring;
  readonly writer: RingWriter;
  readonly files: MemoryLogFiles;
  readonly store: OpStore;
}

/** A ring with ops 1 to 12 in it, and a store that has moved none of them. */
async function makeCrowded(t: TestContext): Promise<Crowded> {
  const folder = makeTemporaryFolder("standin-op-store-");
  t.after(() => removeTree(folder));
  const layout = { arenas: 1, indexSlots: 4096, arenaBytes: 16 << 20 };
  const ring = Ring.create(`${folder}/ring`, layout);
  const writer = new RingWriter(ring, 0);
  publish(ring, writer, 12);
  const files = new MemoryLogFiles(new Prng(1));
  const store = new OpStore(ring, await SegmentLog.open(files));
  assert.equal(store.look(), 12);
  return { ring, writer, files, store };
}

async function readAll(store: OpStore, from: number, to: number): Promise<number[]> {
  const reader = store.reader();
  const seen: number[] = [];
  for (let next = from; next <= to; ) {
    const read = await reader.read(next, OP_BYTES, new PayloadPool(1 << 20));
    assert.ok(read !== undefined, `op ${next}`);
    assert.equal(read.firstLsn, next);
    for (; next <= read.lastLsn; next++) seen.push(next);
  }
  await reader.close();
  return seen;
}

test("what a killed agent left in log and ring is read once, and more is spilled", async (t) => {
  const folder = makeTemporaryFolder("standin-op-store-");
  t.after(() => removeTree(folder));
  const ring = Ring.create(`${folder}/ring`, {
    arenas: 1,
    indexSlots: 4096,
    arenaBytes: 16 << 20,
  });
  const writer = new RingWriter(ring, 0);
  publish(ring, writer, 12);
  const spill = await SegmentLog.open(new MemoryLogFiles(new Prng(1)));
  // As spill() does it, up to the kill.
  await spill.startStream(new Uint8Array(16).fill(1), 1);
  const framer = new RingFramer(ring);
  framer.look();
  const batch = framer.cut(1, 4 * OP_BYTES);
  assert.ok(batch !== undefined && batch.lastLsn < 12);
  spill.append(batch);
  await spill.flush();
  assert.equal(ring.applied, 0, "nothing was released");

  const store = new OpStore(ring, spill);
  assert.equal(store.look(), 12);
  assert.equal(store.firstLsn, 1);
  publish(ring, writer, 2);
  assert.equal(store.look(), 14);
  await store.spill();
  assert.equal(store.spillProblem, undefined);
  assert.deepEqual(await readAll(store, 1, 14), range(1, 14));
});

test("while ops are moved, each of them can be read at every moment", async (t) => {
  const { ring, writer, store } = await makeCrowded(t);
  await store.spill();
  assert.ok(ring.applied > 0 && store.spilledBytes > 0, "some were moved");
  publish(ring, writer, 4);
  assert.equal(store.look(), 16);
  let isDone = false;
  const spilling = store.spill().finally(() => (isDone = true));
  for (let turns = 0; !isDone; turns++) {
    assert.equal(store.firstLsn, 1, `after ${turns} turns`);
    await undefined;
  }
  await spilling;
  assert.deepEqual(await readAll(store, 1, 16), range(1, 16));
});

test("a log that was full takes what it was given when there is room again", async (t) => {
  const { ring, files, store } = await makeCrowded(t);
  files.capacityBytes = OP_BYTES / 2;
  await store.spill();
  await store.spill();
  assert.match(store.spillProblem ?? "", /full/);
  assert.equal(ring.applied, 0, "nothing was released");
  files.capacityBytes = Number.POSITIVE_INFINITY;
  await store.spill();
  assert.equal(store.spillProblem, undefined);
  assert.ok(ring.applied > 0);
  assert.deepEqual(await readAll(store, 1, 12), range(1, 12));
});

test("targets may catch up while ops are moved", async (t) => {
  for (let turns = 0; turns < 60; turns++) {
    const { ring, writer, store } = await makeCrowded(t);
    const spilling = store.spill();
    for (let turn = 0; turn < turns; turn++) await undefined;
    store.release(10);
    assert.ok(ring.applied >= 10, "the ring is given back at once");
    await Promise.all([spilling, store.trim(10)]);
    assert.equal(store.spillProblem, undefined);
    publish(ring, writer, 10);
    assert.equal(store.look(), 22);
    await store.spill();
    assert.equal(store.spillProblem, undefined);
    assert.ok(store.firstLsn <= 11);
    assert.deepEqual(await readAll(store, 11, 22), range(11, 22));
  }
});
