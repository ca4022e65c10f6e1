import assert from "node:assert/strict";
import { test } from "node:test";

import { recordsOf } from "../../test/support/ops.ts";
import { Prng } from "../base/prng.ts";
import { SegmentLog } from "../journal/segment-log.ts";
import { MemoryLogFiles } from "../platform/memory-log-files.ts";
import { PayloadPool } from "../protocol/frame.ts";
import { AnswerRouting } from "./answer-routing.ts";
import { DurableOps } from "./durable-ops.ts";

const pool = new PayloadPool(1 << 20);

async function logOf(): Promise<SegmentLog> {
  const log = await SegmentLog.open(new MemoryLogFiles(new Prng(1)), { segmentBytes: 1000 });
  await log.startStream(new Uint8Array(16).fill(1), 1);
  return log;
}

function append(log: SegmentLog, count: number): void {
  for (let i = 0; i < count; i++) {
    const data = Buffer.alloc(50, log.appendedLsn + 1);
    log.append(recordsOf(log.appendedLsn + 1, [{ data }, { data }]));
  }
}

test("only what is durable is read, and from any op on", async () => {
  const log = await logOf();
  const reader = new DurableOps(log, AnswerRouting.atTarget(0)).reader();
  append(log, 2);
  await log.flush();
  assert.equal(await reader.read(1, 1000, pool), undefined, "written, and not synced");
  await log.sync();
  for (const [from, lastLsn] of [
    [1, 2],
    [3, 4],
    [2, 2],
  ] as const) {
    const read = await reader.read(from, 1000, pool);
    assert.deepEqual([read?.firstLsn, read?.lastLsn], [from, lastLsn]);
  }
  assert.equal(await reader.read(5, 1000, pool), undefined);
  await reader.close();
});

test("what is read is in memory of its own", async () => {
  const log = await logOf();
  const reader = new DurableOps(log, AnswerRouting.atTarget(0)).reader();
  append(log, 1);
  await log.sync();
  const first = await reader.read(1, 1000, pool);
  const before = Buffer.from(first?.payload ?? []);
  assert.ok(before.length > 0);
  const own: Uint8Array[] = [];
  log.onDone = ({ payload }) => own.push(payload);
  assert.equal(await reader.read(3, 1000, pool), undefined);
  assert.equal(own.length, 1, "the log has its memory again");
  own[0]?.fill(0xff);
  assert.deepEqual(Buffer.from(first?.payload ?? []), before);
  await reader.close();
});

test("who needs what was trimmed is told", async () => {
  const log = await logOf();
  const ops = new DurableOps(log, AnswerRouting.atTarget(0));
  append(log, 40);
  await log.sync();
  await log.trimBelow(40);
  const reader = ops.reader();
  await assert.rejects(reader.read(1, 1000, pool), { code: "LOG_TRIMMED" });
  const { streamFirstLsn } = log;
  assert.ok(streamFirstLsn > 1 && streamFirstLsn <= 40);
  assert.equal((await reader.read(streamFirstLsn, 1000, pool))?.firstLsn, streamFirstLsn);
  await log.startStream(new Uint8Array(16).fill(2), 1000);
  assert.deepEqual([log.streamFirstLsn, log.firstLsn], [1000, streamFirstLsn]);
  await reader.close();
});
