import assert from "node:assert/strict";
import { test } from "node:test";

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
  const reader = store.reader();
  const seen: number[] = [];
  for (let next = 1; next <= 14; ) {
    const read = await reader.read(next, OP_BYTES, new PayloadPool(1 << 20));
    assert.ok(read !== undefined, `op ${next}`);
    assert.equal(read.firstLsn, next);
    for (; next <= read.lastLsn; next++) seen.push(next);
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 14 }, (_, i) => i + 1),
  );
  await reader.close();
});
