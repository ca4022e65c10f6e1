/** Entries whose payload has pages of its own in the file. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { test } from "node:test";

import {
  appendInPages,
  appendSome,
  lsnsOf,
  memoryFiles,
  payloadOf,
  range,
  readAll,
  streamId,
} from "../../test/support/log-entries.ts";
import { PAGE_BYTES } from "../base/bytes.ts";
import { Prng } from "../base/prng.ts";
import { makeTemporaryFolder } from "../platform/files.ts";
import { folderLogFiles, type LogFiles } from "../platform/log-files.ts";
import { MemoryLogFiles } from "../platform/memory-log-files.ts";
import { pageMemory } from "../platform/page-memory.ts";
import { PayloadPool } from "../protocol/frame.ts";
import type { LogReader } from "./log-reader.ts";
import {
  ENTRY_HEADER_BYTES,
  entryBytes,
  SEGMENT_HEADER_BYTES,
  segmentName,
} from "./segment-format.ts";
import { SegmentLog } from "./segment-log.ts";

async function inFolder(work: (files: LogFiles) => Promise<void>): Promise<void> {
  const folder = makeTemporaryFolder("standin-log-");
  try {
    await work(await folderLogFiles(folder));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("entries in pages begin at one, wherever the entry before has ended", () => {
  return inFolder(async (onDisk) => {
    const options = { recentBytes: 0, segmentBytes: 200_000 };
    for (const files of [memoryFiles(), onDisk]) {
      const log = await SegmentLog.open(files, options);
      await log.startStream(streamId(1), 1);
      // Pages begin where a header of a filler just fits before them, does not, and at once.
      for (const bytes of [4032, 4040, 4064, 20_000, 1, 70_000]) {
        appendSome(log, 1, bytes);
        appendInPages(log, bytes);
        appendInPages(log, bytes + 4096);
        await log.sync();
      }
      const wanted = (await readAll(log)).map(({ firstLsn, payload }) => ({ firstLsn, payload }));
      assert.deepEqual(
        wanted.map(({ firstLsn }) => firstLsn),
        range(1, 18),
      );
      for (const { firstLsn, payload } of wanted) {
        assert.deepEqual(payload, payloadOf(firstLsn, payload.length));
      }
      await log.close();
      const again = await SegmentLog.open(files, options);
      await again.check();
      assert.deepEqual(await lsnsOf(again), range(1, 18));
      assert.equal(again.cutBytes, 0);
      appendInPages(again, 300);
      await again.sync();
      assert.deepEqual(await lsnsOf(again, 18), [18, 19]);
      await again.close();
    }
  });
});

test("pages without room around the payload are refused", async () => {
  const log = await SegmentLog.open(memoryFiles());
  await log.startStream(streamId(1), 1);
  const pages = pageMemory(8 * PAGE_BYTES);
  const payload = pages.subarray(PAGE_BYTES, 6 * PAGE_BYTES);
  const refused = { message: /room around/ };
  const appended = { firstLsn: 1, lastLsn: 1, payload };
  const bad = [
    pages.subarray(8), // the payload does not begin at its second page
    pages.subarray(0, 8 * PAGE_BYTES - 1),
    pageMemory(8 * PAGE_BYTES),
  ];
  for (const wrong of bad) assert.throws(() => log.append({ ...appended, pages: wrong }), refused);
  log.append({ ...appended, pages });
  assert.equal(await log.sync(), 1);
  await log.close();
});

test("what is left of a large entry tells that a damaged one had been durable", async () => {
  const files = memoryFiles();
  const log = await SegmentLog.open(files);
  await log.startStream(streamId(1), 1);
  appendSome(log, 1, 200);
  await log.sync();
  appendInPages(log, 3 * PAGE_BYTES);
  await log.sync();
  await log.close();
  const name = segmentName(1);
  const content = files.contentOf(name).slice();
  const fillerAt = SEGMENT_HEADER_BYTES + entryBytes(200);
  const open = (kept: Uint8Array) => {
    return SegmentLog.open(new MemoryLogFiles(new Prng(1), {}, new Map([[name, kept]])));
  };
  const torn = content.slice(0, fillerAt + ENTRY_HEADER_BYTES);
  const again = await open(torn.slice());
  assert.deepEqual([again.lastLsn, again.cutBytes], [1, ENTRY_HEADER_BYTES]);
  torn[100] = (torn[100] as number) ^ 1;
  await assert.rejects(open(torn), { code: "LOG_DAMAGED" });
  torn[fillerAt] = (torn[fillerAt] as number) ^ 1;
  const cut = await open(torn);
  assert.equal(cut.lastLsn, 0, "nothing tells it from a torn tail");
});

/** Each entry once, with the bytes of its LSN. */
class Follower {
  readonly #reader: LogReader;
  #lsn = 0;

  constructor(log: SegmentLog) {
    this.#reader = log.reader(1, "durable");
  }

  async follow(lastLsn: number): Promise<void> {
    for (;;) {
      const entry = await this.#reader.next();
      if (entry === undefined) break;
      this.#lsn++;
      assert.equal(entry.firstLsn, this.#lsn);
      assert.deepEqual(entry.payload, payloadOf(this.#lsn, entry.payload.length));
    }
    assert.equal(this.#lsn, lastLsn);
  }

  get lsn(): number {
    return this.#lsn;
  }
}

test("a pool's memory and a log's files are used again beneath two readers", () => {
  return inFolder(async (files) => {
    const options = { segmentBytes: 2 << 20, recentBytes: 4 << 20, sparesMax: 3 };
    const log = await SegmentLog.open(files, options);
    await log.startStream(streamId(1), 1);
    const pool = new PayloadPool(8 << 20, pageMemory);
    let usedAgain = 0;
    log.onDone = ({ payload }) => {
      usedAgain++;
      pool.giveBack(payload);
    };
    const prng = new Prng(5);
    const [near, far] = [new Follower(log), new Follower(log)];
    for (let round = 0; round < 40; round++) {
      for (let count = 1 + prng.int(3); count > 0; count--) {
        const lsn = log.appendedLsn + 1;
        const length = prng.pick([100, 5000, 262_144, 300_001, 520_000]);
        const payload = pool.take(length);
        payload.set(payloadOf(lsn, length));
        log.append({ firstLsn: lsn, lastLsn: lsn, payload, pages: pool.pagesOf(payload) });
      }
      await log.sync();
      await near.follow(log.lastLsn);
      if (round % 5 < 4) continue;
      await far.follow(log.lastLsn);
      await log.trimBelow(far.lsn);
    }
    assert.ok(usedAgain > 20, `${usedAgain} entries were done with in memory`);
    await log.check();
    await log.close();
    const again = await SegmentLog.open(files, options);
    await again.check();
    assert.equal((await readAll(again)).at(-1)?.lastLsn, log.lastLsn);
    await again.close();
  });
});
