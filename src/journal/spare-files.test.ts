import assert from "node:assert/strict";
import { test } from "node:test";
import { appendSome, lsnsOf, payloadOf, streamId } from "../../test/support/log-entries.ts";
import { Prng } from "../base/prng.ts";
import type { LogFiles } from "../platform/log-files.ts";
import { MemoryLogFiles } from "../platform/memory-log-files.ts";
import { segmentName } from "./segment-format.ts";
import { SegmentLog } from "./segment-log.ts";

const OPTIONS = { segmentBytes: 1024, recentBytes: 0, sparesMax: 2 };

async function logOf(entries: number): Promise<{ files: MemoryLogFiles; log: SegmentLog }> {
  const files = new MemoryLogFiles(new Prng(1));
  const log = await SegmentLog.open(files, OPTIONS);
  await log.startStream(streamId(1), 1);
  appendSome(log, entries, 200);
  await log.sync();
  return { files, log };
}

async function namesOf(files: LogFiles, ending: string): Promise<string[]> {
  return (await files.list()).filter((name) => name.endsWith(ending)).sort();
}

test("files of trimmed segments become new ones, as many as are to be kept", async () => {
  const { files, log } = await logOf(20); // four fit in a segment
  assert.equal((await namesOf(files, ".log")).length, 5);
  await log.trimBelow(17);
  assert.deepEqual(await namesOf(files, ".log"), [segmentName(17)]);
  assert.equal((await namesOf(files, ".spare")).length, 2);
  let created = 0;
  files.fault = (operation) => {
    if (operation === "create") created++;
    return undefined;
  };
  appendSome(log, 12, 200);
  await log.sync();
  assert.deepEqual(await namesOf(files, ".spare"), []);
  assert.equal(created, 1, "of three new segments");
  const lsns = Array.from({ length: 16 }, (_, index) => 17 + index);
  assert.deepEqual(await lsnsOf(log), lsns);

  const again = await SegmentLog.open(files.crash(), OPTIONS);
  assert.deepEqual(await lsnsOf(again), lsns);
  await again.check();
});

test("what a file once held is not read again, and goes when the log is opened", async () => {
  const { files, log } = await logOf(8);
  await log.trimBelow(5);
  await log.startStream(streamId(2), 20); // in the file of LSNs 1 to 4
  appendSome(log, 1, 200);
  await log.sync();
  const file = segmentName(20);
  assert.ok(files.contentOf(file).length > 900);

  const disk = files.crash();
  const again = await SegmentLog.open(disk, OPTIONS);
  assert.deepEqual(await lsnsOf(again), [5, 6, 7, 8, 20]);
  assert.ok(again.cutBytes > 600);
  assert.equal(disk.contentOf(file).length, 64 + 232);
});

test("spares of an earlier process are removed", async () => {
  const { files, log } = await logOf(20);
  await log.trimBelow(17);
  const disk = files.reopen();
  await SegmentLog.open(disk, OPTIONS);
  assert.deepEqual(await disk.list(), [segmentName(17)]);
});

test("a reader whose segment becomes another meanwhile is told that it was trimmed", async () => {
  const { files, log } = await logOf(8);
  const reader = log.reader(2);
  let reads = 0;
  let reused: Promise<unknown> | undefined;
  files.fault = (operation, name) => {
    const isIt = operation === "read" && name === segmentName(1);
    if (isIt && reads++ === 0) reused = reuse(log);
    return undefined;
  };
  // Its read waits until the file is another segment's.
  const open = files.open.bind(files);
  files.open = async (name) => {
    const file = await open(name);
    const read = file.read.bind(file);
    file.read = async (into, position) => {
      await read(new Uint8Array(1), position);
      await reused;
      return read(into, position);
    };
    return file;
  };
  await assert.rejects(reader.next(), { code: "LOG_TRIMMED" });
  assert.ok(reused !== undefined);
});

async function reuse(log: SegmentLog): Promise<void> {
  await log.trimBelow(5);
  appendSome(log, 1, 900);
  await log.sync();
}

test("a sound entry behind a torn one does not come back", async () => {
  const { files, log } = await logOf(1);
  const name = segmentName(1);
  appendSome(log, 2, 200);
  await log.flush();
  await log.close();
  const torn = files.contentOf(name).slice();
  torn.fill(0, 64 + 232 + 100, 64 + 232 + 200);
  const disk = new MemoryLogFiles(new Prng(1), {}, new Map([[name, torn]]));
  const again = await SegmentLog.open(disk, OPTIONS);
  assert.deepEqual(await lsnsOf(again), [1]);
  again.append({ firstLsn: 2, lastLsn: 2, payload: payloadOf(99, 200) });
  await again.sync();
  const last = await SegmentLog.open(disk.crash(), OPTIONS);
  assert.deepEqual(await lsnsOf(last), [1, 2]);
});
