import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { test, type TestContext } from "node:test";
import { requireCapability } from "../../test/support/capabilities.ts";
import {
  appendSome,
  lsnsOf,
  memoryFiles,
  payloadOf,
  range,
  readAll,
  streamId,
} from "../../test/support/log-entries.ts";
import { Prng } from "../base/prng.ts";
import { makeTemporaryFolder } from "../platform/files.ts";
import { folderLogFiles } from "../platform/log-files.ts";
import { MemoryLogFiles } from "../platform/memory-log-files.ts";
import { segmentName } from "./segment-format.ts";
import { SegmentLog } from "./segment-log.ts";

const small = { segmentBytes: 1024, recentBytes: 2048 };

function temporaryFolder(t: TestContext): string {
  const folder = makeTemporaryFolder("standin-log-");
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test("a new log is empty; a stream begins where it is told", async () => {
  const log = await SegmentLog.open(memoryFiles());
  assert.equal(log.stream, undefined);
  assert.deepEqual([log.firstLsn, log.lastLsn, log.durableLsn, log.bytes], [1, 0, 0, 0]);
  assert.throws(() => appendSome(log, 1), /a stream was started/);
  await log.startStream(streamId(1), 100);
  assert.deepEqual(log.stream, streamId(1));
  assert.deepEqual([log.firstLsn, log.lastLsn, log.durableLsn], [100, 99, 99]);
  await assert.rejects(log.startStream(streamId(2), 99), /LSNs only grow/);
  await log.startStream(streamId(2), 100);
  assert.deepEqual(log.stream, streamId(2));
  await log.startStream(streamId(3), 200);
  await log.close();
});

test("appended entries come back, across segments, streams and a reopening", async () => {
  const files = memoryFiles();
  const log = await SegmentLog.open(files, small);
  await log.startStream(streamId(1), 5);
  log.append({ firstLsn: 5, lastLsn: 9, payload: payloadOf(5, 300), flags: 0xffffffff });
  assert.throws(() => {
    log.append({ firstLsn: 11, lastLsn: 11, payload: payloadOf(11) });
  }, /LSN 11 follows 9/);
  appendSome(log, 30, 101);
  assert.ok(log.queuedBytes > 3000);
  assert.equal(log.lastLsn, 4);
  assert.equal(await log.flush(), 39);
  assert.deepEqual([log.lastLsn, log.queuedBytes], [39, 0]);
  assert.ok(log.durableLsn < 39);
  assert.equal(await log.sync(), 39);
  await log.startStream(streamId(2), 50);
  appendSome(log, 2, 4000);
  await log.close();

  const again = await SegmentLog.open(files.reopen(), small);
  assert.deepEqual([again.firstLsn, again.lastLsn, again.durableLsn], [5, 51, 51]);
  const entries = await readAll(again);
  assert.deepEqual(
    entries.map(({ firstLsn }) => firstLsn),
    [5, ...range(10, 39), 50, 51],
  );
  const [first, second] = entries;
  assert.deepEqual([first?.lastLsn, first?.flags, second?.flags], [9, 0xffffffff, 0]);
  assert.deepEqual(first?.payload, payloadOf(5, 300));
  assert.deepEqual(second?.payload, payloadOf(10, 101));
  assert.deepEqual(second?.stream, streamId(1));
  assert.deepEqual(entries.at(-1)?.stream, streamId(2));
  assert.deepEqual(await lsnsOf(again, 7), [5, ...range(10, 39), 50, 51]);
  assert.deepEqual(await lsnsOf(again, 39), [39, 50, 51]);
  assert.deepEqual(await lsnsOf(again, 40), [50, 51]);
  assert.deepEqual(await lsnsOf(again, 52), []);
  await again.check();
});

test("concurrent syncs share one fdatasync", async () => {
  const files = memoryFiles();
  const log = await SegmentLog.open(files);
  await log.startStream(streamId(1), 1);
  let syncs = 0;
  files.fault = (operation) => {
    if (operation === "syncData") syncs++;
    return undefined;
  };
  const promises: Promise<number>[] = [];
  for (let index = 0; index < 100; index++) {
    appendSome(log, 1);
    promises.push(log.sync());
  }
  assert.deepEqual(await Promise.all(promises), Array(100).fill(100));
  assert.equal(syncs, 1);
});

test("a reader follows the writer, from memory and from the files, and is woken", async () => {
  for (const until of ["written", "durable"] as const) {
    const log = await SegmentLog.open(memoryFiles(), small);
    await log.startStream(streamId(1), 1);
    const reader = log.reader(1, until);
    let wakes = 0;
    reader.onAppended = () => wakes++;
    assert.equal(await reader.next(), undefined);
    const prng = new Prng(7);
    const read: number[] = [];
    for (let round = 0; round < 60; round++) {
      appendSome(log, 1 + prng.int(12));
      const before = wakes;
      await log.flush();
      if (until === "written") assert.ok(wakes > before);
      if (prng.chance(0.5)) await log.sync();
      for (let most = prng.int(30); most > 0; most--) {
        const entry = await reader.next();
        if (entry === undefined) break;
        assert.deepEqual(entry.payload, payloadOf(entry.firstLsn));
        read.push(entry.firstLsn);
        assert.ok(entry.lastLsn <= (until === "durable" ? log.durableLsn : log.lastLsn));
      }
    }
    await log.sync();
    assert.ok(wakes > 0);
    for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) {
      read.push(entry.firstLsn);
    }
    assert.deepEqual(read, range(1, log.lastLsn));
    await log.close();
  }
});

test("a reader goes on when its empty segment is replaced by another stream's", async () => {
  const log = await SegmentLog.open(memoryFiles(), { recentBytes: 0 });
  await log.startStream(streamId(1), 1);
  const reader = log.reader(1);
  assert.equal(await reader.next(), undefined);
  await log.startStream(streamId(2), 1);
  appendSome(log, 1);
  await log.flush();
  assert.deepEqual((await reader.next())?.stream, streamId(2));
});

test("what every reader has done with is forgotten, and no more than is to be kept", async () => {
  const log = await SegmentLog.open(memoryFiles(), { recentBytes: 10_000 });
  const done: number[] = [];
  log.onDone = ({ firstLsn }) => done.push(firstLsn);
  await log.startStream(streamId(1), 1);
  const [near, far] = [log.reader(1), log.reader(1)];
  appendSome(log, 4, 1000);
  await log.flush();
  for (let lsn = 1; lsn <= 4; lsn++) assert.equal((await near.next())?.firstLsn, lsn);
  await far.next();
  await far.next();
  assert.deepEqual(done, [1], "the second is in the hands of one reader");
  await far.close();
  assert.equal(await near.next(), undefined);
  assert.deepEqual(done, [1, 2, 3, 4]);
  appendSome(log, 10, 1000);
  await log.flush();
  for (let lsn = 5; lsn <= 14; lsn++) assert.equal((await near.next())?.firstLsn, lsn);
  assert.equal(await near.next(), undefined);
  assert.deepEqual(done.slice(4, 6), [8, 9], "those before came from the file: no room for them");
});

test("trimming removes whole segments, and who needs them is told", async () => {
  const files = memoryFiles();
  const log = await SegmentLog.open(files, small);
  await log.startStream(streamId(1), 1);
  appendSome(log, 40, 200);
  await log.sync();
  const late = log.reader(1);
  assert.equal((await late.next())?.firstLsn, 1);
  const before = log.bytes;
  await Promise.all([log.trimBelow(10), log.trimBelow(20)]);
  assert.ok(log.firstLsn > 15 && log.firstLsn <= 20, String(log.firstLsn));
  assert.ok(log.bytes < before);
  await assert.rejects(late.next(), { code: "LOG_TRIMMED" });
  assert.throws(() => log.reader(1), { code: "LOG_TRIMMED" });
  assert.deepEqual(await lsnsOf(log), range(log.firstLsn, 40));
  await log.trimBelow(1000);
  assert.equal((await files.list()).length, 1);
  await log.startStream(streamId(2), 100);
  await log.trimBelow(100);
  assert.deepEqual(await files.list(), [segmentName(100)]);
  await log.close();
  const again = await SegmentLog.open(files.reopen(), small);
  assert.deepEqual([again.firstLsn, again.lastLsn], [100, 99]);
});

test("a full disk loses nothing: what is queued is written when there is room", async () => {
  for (let capacityBytes = 100; capacityBytes < 3000; capacityBytes += 37) {
    const files = memoryFiles();
    const log = await SegmentLog.open(files, small);
    await log.startStream(streamId(1), 1);
    files.capacityBytes = capacityBytes;
    appendSome(log, 30, 120);
    await assert.rejects(log.sync(), { code: "LOG_FULL" });
    assert.equal(log.durableLsn, log.lastLsn);
    assert.deepEqual(await lsnsOf(log), range(1, log.durableLsn));
    await assert.rejects(log.flush(), { code: "LOG_FULL" });
    const copy = await SegmentLog.open(files.reopen(), small);
    assert.deepEqual(await lsnsOf(copy), range(1, log.durableLsn));
    assert.equal(copy.cutBytes, 0);
  }
  const files = memoryFiles();
  const log = await SegmentLog.open(files, { ...small, bytesMax: 1500 });
  await log.startStream(streamId(1), 1);
  files.capacityBytes = 300;
  appendSome(log, 20, 120);
  await assert.rejects(log.sync(), { code: "LOG_FULL" });
  appendSome(log, 1, 120);
  files.capacityBytes = 1e6;
  await assert.rejects(log.sync(), { code: "LOG_FULL", message: /its limit of 1500 bytes/ });
  assert.ok(log.bytes <= 1500);
  await log.trimBelow(log.lastLsn);
  while ((await log.sync().catch(() => 0)) < 21) await log.trimBelow(log.lastLsn);
  assert.deepEqual(await lsnsOf(log), range(log.firstLsn, 21));
});

test("the reserve of the disk is left alone", async () => {
  const files = memoryFiles();
  files.capacityBytes = 10_000;
  const log = await SegmentLog.open(files, { reserveBytes: 6000 });
  await log.startStream(streamId(1), 1);
  appendSome(log, 60, 96);
  while (log.lastLsn < 20) {
    appendSome(log, 1, 96);
    await log.sync().catch(() => undefined);
  }
  await assert.rejects(log.sync(), { code: "LOG_FULL", message: /kept in reserve/ });
  assert.ok((await files.freeBytes()) >= 6000);
});

test("after an I/O error the log takes nothing until it is opened anew", async () => {
  for (const failing of ["write", "syncData", "syncFolder", "rename", "create"] as const) {
    for (const [code, seed] of range(1, 16).map((n) => [n % 2 ? "EIO" : "ENOSPC", n] as const)) {
      const files = new MemoryLogFiles(new Prng(seed));
      const log = await SegmentLog.open(files, small);
      await log.startStream(streamId(1), 1);
      appendSome(log, 3, 96);
      await log.sync();
      let faults = 1;
      files.fault = (operation) => (operation === failing && faults-- > 0 ? code : undefined);
      appendSome(log, 20, 96);
      // What is in a file and was to be synced when that failed is never taken for durable.
      const isFull = code === "ENOSPC" && !failing.startsWith("sync");
      await assert.rejects(log.sync(), { code: isFull ? "LOG_FULL" : "LOG_IO" });
      if (isFull) {
        assert.equal(await log.sync(), 23);
      } else {
        assert.throws(() => appendSome(log, 1), { code: "LOG_IO" });
        await assert.rejects(log.sync(), { code: "LOG_IO" });
      }
      // Reopened without a power cut, bytes that a failed sync has dropped can still be read.
      const disk = files.reopen();
      const again = await SegmentLog.open(disk, small);
      const { durableLsn } = again;
      assert.ok(durableLsn >= log.durableLsn);
      appendSome(again, 2, 96);
      await again.sync();
      const last = await SegmentLog.open(disk.crash(), small);
      assert.deepEqual(await lsnsOf(last), range(1, durableLsn + 2));
    }
  }
});

test("a torn tail whose removal was not synced is removed again", async () => {
  const files = memoryFiles();
  const log = await SegmentLog.open(files, small);
  await log.startStream(streamId(1), 1);
  appendSome(log, 3, 96);
  await log.close();
  const name = segmentName(1);
  const torn = Buffer.concat([files.contentOf(name), Buffer.alloc(48, 7)]);
  const found = new MemoryLogFiles(new Prng(1), {}, new Map([[name, torn]]));
  found.fault = (operation) => (operation === "syncData" ? "EIO" : undefined);
  await assert.rejects(SegmentLog.open(found, small), { code: "LOG_IO" });
  const disk = found.reopen();
  const again = await SegmentLog.open(disk, small);
  // It goes to another segment, which says how long the first one is.
  appendSome(again, 1, 900);
  assert.equal(await again.sync(), 4);
  const last = await SegmentLog.open(disk.crash(), small);
  assert.deepEqual(await lsnsOf(last), range(1, 4));
});

test("damage at each byte is found, but for what may be a torn tail", async () => {
  const files = memoryFiles();
  const log = await SegmentLog.open(files, { segmentBytes: 512 });
  await log.startStream(streamId(1), 1);
  const bytesAt: number[] = [];
  for (let lsn = 1; lsn <= 10; lsn++) {
    appendSome(log, 1, 75);
    await log.sync();
    bytesAt[lsn] = files.contentOf((await files.list()).sort().at(-1) ?? "").length;
  }
  await log.close();
  const names = (await files.list()).sort();
  assert.equal(names.length, 3);
  const whole = new Map(names.map((name) => [name, files.contentOf(name)]));
  let cuts = 0;
  for (const name of names) {
    const content = whole.get(name) as Uint8Array;
    for (let at = 0; at < content.length; at++) {
      const damaged = content.slice();
      damaged[at] = (damaged[at] as number) ^ (1 << (at % 8));
      const copy = new MemoryLogFiles(new Prng(at), {}, new Map([...whole, [name, damaged]]));
      const isLastEntry = name === names[2] && at >= (bytesAt[9] as number);
      if (isLastEntry) {
        const again = await SegmentLog.open(copy);
        assert.deepEqual([again.lastLsn, again.cutBytes], [9, content.length - bytesAt[9]!]);
        cuts++;
        continue;
      }
      const checked = SegmentLog.open(copy).then((opened) => opened.check());
      await assert.rejects(checked, { code: "LOG_DAMAGED" }, `${name} at ${at}`);
      assert.deepEqual(copy.contentOf(name), damaged, "nothing was changed");
      if (name !== names[2] && at >= 64 && at % 5 === 0) await readsOnlyRight(copy);
    }
  }
  assert.equal(cuts, 112);
});

async function readsOnlyRight(files: MemoryLogFiles): Promise<void> {
  const log = await SegmentLog.open(files);
  const reader = log.reader(1);
  const damaged = (async () => {
    for (let lsn = 1; ; lsn++) {
      const entry = await reader.next();
      assert.deepEqual(entry?.payload, payloadOf(lsn, 75));
      assert.equal(entry?.firstLsn, lsn);
    }
  })();
  await assert.rejects(damaged, { code: "LOG_DAMAGED" });
}

test("a segment that is missing or cut is found", async () => {
  const files = memoryFiles();
  const log = await SegmentLog.open(files, { segmentBytes: 512 });
  await log.startStream(streamId(1), 1);
  appendSome(log, 12, 75);
  await log.startStream(streamId(2), 50);
  appendSome(log, 12, 75);
  await log.close();
  const names = (await files.list()).sort();
  const whole = new Map(names.map((name) => [name, files.contentOf(name)]));
  for (const name of names.slice(1, -1)) {
    const missing = new Map(whole);
    missing.delete(name);
    const open = SegmentLog.open(new MemoryLogFiles(new Prng(1), {}, missing));
    await assert.rejects(open, { code: "LOG_DAMAGED", message: /missing/ });
  }
  for (const name of names.slice(0, -1)) {
    const cut = new Map(whole).set(name, (whole.get(name) as Uint8Array).slice(0, -8));
    const open = SegmentLog.open(new MemoryLogFiles(new Prng(1), {}, cut));
    await assert.rejects(open, { code: "LOG_DAMAGED", hint: /resync/ });
  }
});

test("on a real disk, also with a torn tail", async (t) => {
  const folder = temporaryFolder(t);
  const options = { segmentBytes: 1 << 20, recentBytes: 0 };
  const log = await SegmentLog.open(await folderLogFiles(`${folder}/log`), options);
  await log.startStream(streamId(1), 1);
  for (let round = 0; round < 10; round++) {
    appendSome(log, 30, 4096 * (1 + (round % 5)));
    appendSome(log, 2, 300_001);
    await log.sync();
  }
  appendSome(log, 1500, 16); // more pieces than one call takes
  await log.close();
  const names = await (await folderLogFiles(`${folder}/log`)).list();
  assert.ok(names.length > 5);
  const last = names.sort().at(-1) as string;
  writeFileSync(`${folder}/log/${last}`, "no entry at all, but some bytes of one", { flag: "a" });
  const again = await SegmentLog.open(await folderLogFiles(`${folder}/log`), options);
  assert.equal(again.lastLsn, 1820);
  assert.equal(again.cutBytes, 38);
  assert.deepEqual(await lsnsOf(again), range(1, 1820));
  await again.check();
  await again.trimBelow(again.lastLsn);
  assert.deepEqual(await (await folderLogFiles(`${folder}/log`)).list(), [last]);
  await again.close();
});

test("on a disk that is really full", async (t) => {
  if (!requireCapability(t, "root")) return;
  const folder = temporaryFolder(t);
  mkdirSync(`${folder}/disk`);
  const mount = ["-t", "tmpfs", "-o", "size=1m", "standin-log", `${folder}/disk`];
  assert.equal(spawnSync("mount", mount).status, 0);
  try {
    const options = { segmentBytes: 128 << 10 };
    const log = await SegmentLog.open(await folderLogFiles(`${folder}/disk/log`), options);
    await log.startStream(streamId(1), 1);
    appendSome(log, 40, 50_000);
    await assert.rejects(log.sync(), { code: "LOG_FULL" });
    const { durableLsn } = log;
    assert.ok(durableLsn > 10 && durableLsn < 21, String(durableLsn));
    await assert.rejects(log.sync(), { code: "LOG_FULL" });
    await log.trimBelow(durableLsn);
    await assert.rejects(log.sync(), { code: "LOG_FULL" });
    await log.trimBelow(log.durableLsn);
    assert.equal(await log.sync(), 40);
    const entries = await readAll(log);
    assert.ok(entries.every(({ firstLsn, payload }) => isPayload(payload, firstLsn)));
    await log.close();
    const again = await SegmentLog.open(await folderLogFiles(`${folder}/disk/log`), options);
    assert.equal(again.lastLsn, 40);
    await again.close();
  } finally {
    assert.equal(spawnSync("umount", [`${folder}/disk`]).status, 0);
  }
});

function isPayload(payload: Uint8Array, lsn: number): boolean {
  return Buffer.compare(payload, payloadOf(lsn, 50_000)) === 0;
}
