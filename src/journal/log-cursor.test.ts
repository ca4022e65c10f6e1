import assert from "node:assert/strict";
import { test } from "node:test";

import { appendSome, memoryFiles, range, streamId } from "../../test/support/log-entries.ts";
import { LogCursor } from "./log-cursor.ts";
import { SegmentLog } from "./segment-log.ts";

async function logOf(entries: number): Promise<SegmentLog> {
  const log = await SegmentLog.open(memoryFiles());
  await log.startStream(streamId(1), 1);
  appendSome(log, entries);
  await log.sync();
  return log;
}

test("LogCursor reads on, and from anywhere", async () => {
  const cursor = new LogCursor(await logOf(5), "durable");
  for (const from of [1, 2, 4, 5, 2, 3]) assert.equal((await cursor.read(from))?.firstLsn, from);
  assert.equal(await cursor.read(6), undefined);
  await cursor.close();
});

test("LogCursor leaves no reader with the log when it is closed while it turns", async () => {
  const log = await logOf(2);
  const done: number[] = [];
  log.onDone = ({ firstLsn }) => done.push(firstLsn);
  const cursor = new LogCursor(log, "durable");
  await cursor.read(2);
  const turning = cursor.read(1);
  await cursor.close();
  assert.equal(await turning, undefined);
  const other = new LogCursor(log, "durable");
  appendSome(log, 2);
  await log.sync();
  await other.read(5);
  assert.deepEqual(done, range(1, 4), "nobody else reads any of them");
  await other.close();
});
