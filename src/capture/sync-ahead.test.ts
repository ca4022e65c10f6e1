import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import type { Request } from "../fuse/message.ts";
import { LockTable } from "./lock-table.ts";
import { ANSWERED_LATER, SyncAhead } from "./sync-ahead.ts";

const WORKER = fileURLToPath(new URL("../../test/support/sync-ahead-worker.ts", import.meta.url));
const EIO = 5;
const INO = 4711;
const FD = 9;

function fsync(unique: number, resent = false): Request {
  return { uniqueLow: unique, uniqueHigh: 0, resent } as Request;
}

/** Two workers of a mount. What the first one's syncs do and return is `syncs`, in their order. */
function workers(syncs: ((dataOnly: boolean) => number)[] = []) {
  const shared = SyncAhead.allocate();
  const answers: [number, number][] = [];
  const options = {
    shared,
    sync: (_fd: number, dataOnly: boolean) => (syncs.shift() ?? (() => 0))(dataOnly),
    answer: (low: number, _high: number, result: number) => void answers.push([low, result]),
  };
  const writer = new SyncAhead({ ...options, worker: 0 });
  const other = new SyncAhead({ ...options, worker: 1 });
  return { writer, other, answers };
}

/** Until a sync is expected behind the next write. */
function learn(writer: SyncAhead, dataOnly = true): void {
  for (let i = 0; i < 3; i++) {
    assert.equal(writer.wrote(INO, 1), false);
    assert.equal(writer.take(fsync(1), { ino: INO, epoch: 1, dataOnly }), undefined);
  }
}

function writeAhead(writer: SyncAhead, epoch: number): void {
  assert.equal(writer.wrote(INO, epoch), true);
  assert.equal(writer.isPlanned, true);
  writer.run(FD);
  assert.equal(writer.isPlanned, false);
}

test("SyncAhead answers an FSYNC that comes while it syncs, behind the sync", () => {
  const seen: (number | undefined)[] = [];
  const during = (): number => {
    seen.push(other.take(fsync(42), { ino: INO, epoch: 5, dataOnly: true }));
    assert.deepEqual(answers, []);
    return 0;
  };
  const { writer, other, answers } = workers([during]);
  learn(writer);
  writeAhead(writer, 5);
  assert.deepEqual(seen, [ANSWERED_LATER]);
  assert.deepEqual(answers, [[42, 0]]);
});

test("SyncAhead answers one FSYNC that comes behind its sync, and no second one", () => {
  const { writer, other } = workers();
  learn(writer);
  writeAhead(writer, 5);
  const file = { ino: INO, epoch: 5, dataOnly: true };
  assert.equal(other.take(fsync(42), file), 0);
  assert.equal(other.take(fsync(43), file), undefined);
});

test("SyncAhead does not answer for what was touched since", () => {
  const { writer, other } = workers();
  learn(writer);
  writeAhead(writer, 5);
  assert.equal(other.take(fsync(42), { ino: INO, epoch: 6, dataOnly: true }), undefined);
  assert.equal(other.take(fsync(42), { ino: INO + 1, epoch: 5, dataOnly: true }), undefined);
});

test("SyncAhead does not answer a whole sync by one of data", () => {
  const { writer, other } = workers();
  learn(writer);
  writeAhead(writer, 5);
  assert.equal(other.take(fsync(42), { ino: INO, epoch: 5, dataOnly: false }), undefined);
});

test("SyncAhead answers a sync of data by a whole one", () => {
  const kinds: boolean[] = [];
  const { writer, other } = workers([(dataOnly) => Number(kinds.push(dataOnly)) - 1]);
  learn(writer, false);
  writeAhead(writer, 5);
  assert.deepEqual(kinds, [false]);
  assert.equal(other.take(fsync(42), { ino: INO, epoch: 5, dataOnly: true }), 0);
});

test("SyncAhead syncs again for an FSYNC that its sync does not cover", () => {
  const kinds: boolean[] = [];
  const during = (dataOnly: boolean): number => {
    kinds.push(dataOnly);
    other.take(fsync(42), { ino: INO, epoch: 6, dataOnly: false });
    return 0;
  };
  const again = (dataOnly: boolean): number => {
    kinds.push(dataOnly);
    assert.deepEqual(answers, []);
    return -EIO;
  };
  const { writer, other, answers } = workers([during, again]);
  learn(writer);
  writeAhead(writer, 5);
  assert.deepEqual(kinds, [true, false]);
  assert.deepEqual(answers, [[42, -EIO]]);
});

test("SyncAhead leaves a second FSYNC during its sync to be synced by itself", () => {
  const seen: (number | undefined)[] = [];
  const during = (): number => {
    for (const unique of [42, 43]) {
      seen.push(other.take(fsync(unique), { ino: INO, epoch: 5, dataOnly: true }));
    }
    return 0;
  };
  const { writer, other, answers } = workers([during]);
  learn(writer);
  writeAhead(writer, 5);
  assert.deepEqual(seen, [ANSWERED_LATER, undefined]);
  assert.deepEqual(answers, [[42, 0]]);
});

test("SyncAhead tells who waits of a failure, and nobody else", () => {
  const during = (): number => {
    other.take(fsync(42), { ino: INO, epoch: 5, dataOnly: true });
    return -EIO;
  };
  const { writer, other, answers } = workers([during]);
  learn(writer);
  writeAhead(writer, 5);
  assert.deepEqual(answers, [[42, -EIO]]);
  assert.equal(other.take(fsync(43), { ino: INO, epoch: 5, dataOnly: true }), undefined);
});

test("SyncAhead keeps a failure for the next FSYNC of the file, whatever came between", () => {
  const { writer, other } = workers([() => -EIO, () => assert.fail("it syncs with that in hand")]);
  learn(writer);
  writeAhead(writer, 5);
  for (const epoch of [6, 7]) if (writer.wrote(INO, epoch)) writer.run(FD);
  assert.equal(other.take(fsync(7), { ino: INO + 1, epoch: 5, dataOnly: true }), undefined);
  assert.equal(other.take(fsync(42), { ino: INO, epoch: 9, dataOnly: true }), -EIO);
  assert.equal(other.take(fsync(43), { ino: INO, epoch: 9, dataOnly: true }), undefined);
});

test("SyncAhead does not sync when the FSYNC was faster", () => {
  const { writer, other } = workers([() => assert.fail("it syncs")]);
  learn(writer);
  assert.equal(writer.wrote(INO, 5), true);
  assert.equal(other.take(fsync(42), { ino: INO, epoch: 5, dataOnly: true }), undefined);
  writer.run(FD);
});

test("SyncAhead leaves an FSYNC that the kernel sends again to be synced by itself", () => {
  const { writer, other } = workers();
  learn(writer);
  writeAhead(writer, 5);
  assert.equal(other.take(fsync(42, true), { ino: INO, epoch: 5, dataOnly: true }), undefined);
});

test("SyncAhead forgets what was planned", () => {
  const { writer } = workers([() => assert.fail("it syncs")]);
  learn(writer);
  writer.wrote(INO, 5);
  writer.cancel();
  assert.equal(writer.isPlanned, false);
});

test("SyncAhead never answers before what was written is synced, in parallel", async () => {
  const syncAhead = SyncAhead.allocate();
  const locks = LockTable.allocate();
  const state = new SharedArrayBuffer(4096);
  const workers = 3;
  const ends = Array.from({ length: workers }, (_, worker) => {
    const workerData = { syncAhead, locks, state, worker, workers, rounds: 20_000 };
    const thread = new Worker(WORKER, { workerData });
    return new Promise<{ torn: number; later: number; ahead: number }>((resolve, reject) => {
      thread.once("message", resolve);
      thread.once("error", reject);
    });
  });
  const results = await Promise.all(ends);
  const sum = (key: "torn" | "later" | "ahead"): number =>
    results.reduce((total, result) => total + result[key], 0);
  assert.equal(sum("torn"), 0);
  assert.ok(sum("later") > 0, "no FSYNC was answered by another worker");
  assert.ok(sum("ahead") > 0, "no sync was ahead");
});
