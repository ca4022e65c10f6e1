import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";

import { recordsOf } from "../../test/support/ops.ts";
import { Prng } from "../base/prng.ts";
import { HeaderAt } from "../journal/ring-layout.ts";
import { Ring, RingReader } from "../journal/ring.ts";
import { SegmentLog } from "../journal/segment-log.ts";
import { makeTemporaryFolder, removeTree } from "../platform/files.ts";
import { systemClock } from "../platform/clock.ts";
import { MemoryLogFiles } from "../platform/memory-log-files.ts";
import { RingFeeder } from "./ring-feeder.ts";

const OPS = 20;

async function feed(log: SegmentLog, ring: Ring, until: number): Promise<void> {
  const stopping = new AbortController();
  const feeder = new RingFeeder(log, ring, systemClock);
  const running = feeder.run(stopping.signal);
  while (ring.head < until) await systemClock.sleep(1);
  stopping.abort();
  await running;
}

/** A log of ops whose data tell them apart; the first half is in the ring, and none is applied. */
async function halfFed(t: TestContext): Promise<{ log: SegmentLog; ring: Ring }> {
  const folder = makeTemporaryFolder("standin-ring-feeder-");
  t.after(() => removeTree(folder));
  const layout = { arenas: 1, indexSlots: 256, arenaBytes: 1 << 16 };
  const ring = Ring.create(`${folder}/ring`, layout);
  const log = await SegmentLog.open(new MemoryLogFiles(new Prng(1)));
  t.after(() => log.close());
  await log.startStream(new Uint8Array(16).fill(1), 1);
  const append = async (from: number, to: number) => {
    const numbers = Array.from({ length: to - from + 1 }, (_, i) => from + i);
    log.append(
      recordsOf(
        from,
        numbers.map((n) => ({ data: new Uint8Array(100).fill(n) })),
      ),
    );
    await log.sync();
  };
  await append(1, OPS / 2);
  await feed(log, ring, OPS / 2);
  await append(OPS / 2 + 1, OPS);
  return { log, ring };
}

function assertWhole(ring: Ring): void {
  const reader = new RingReader(ring);
  for (let lsn = 1; lsn <= OPS; lsn++) {
    const op = reader.peek();
    assert.equal(op?.lsn, lsn);
    assert.deepEqual(new Set(op?.data), new Set([lsn]), `the data of op ${lsn}`);
    reader.release();
  }
  assert.equal(reader.peek(), undefined);
}

test("an op whose LSN was taken when the agent was killed is fed by the next one", async (t) => {
  const { log, ring } = await halfFed(t);
  ring.addWord(HeaderAt.head, 1);
  await feed(log, ring, OPS);
  assertWhole(ring);
});

test("a record that was just shown when the agent was killed is not written over", async (t) => {
  const { log, ring } = await halfFed(t);
  const { start } = ring.locate(OPS / 2);
  ring.setArenaHead(0, start);
  await feed(log, ring, OPS);
  assertWhole(ring);
});
