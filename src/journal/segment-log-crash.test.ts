/**
 * The log against the disk in memory: appends, syncs, trims, new streams, readers, full disks, I/O
 * errors, kills and power cuts, from one seed. STANDIN_SEED: the first seed; STANDIN_RUNS: how
 * many.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  appendInPages,
  appendSome,
  payloadOf,
  readAll,
  streamId,
} from "../../test/support/log-entries.ts";
import { Prng } from "../base/prng.ts";
import { MemoryLogFiles } from "../platform/memory-log-files.ts";
import type { LogReader } from "./log-reader.ts";
import { SegmentLog } from "./segment-log.ts";

const SEED = Number(process.env.STANDIN_SEED ?? 1);
const RUNS = Number(process.env.STANDIN_RUNS ?? 100);

/** What the log is held against: what was appended and what is promised to be there. */
class Model {
  readonly prng: Prng;
  files: MemoryLogFiles;
  log!: SegmentLog;
  /** First LSN of each stream to its number, ascending. */
  streams: { firstLsn: number; number: number }[] = [];
  streamCount = 0;
  /** Each LSN that starts an entry, ascending. */
  appended: number[] = [];
  /** Reported as durable: must be there after any crash. */
  durableLsn = 0;
  /** Everything below may have been trimmed. */
  trimmedBelow = 0;
  readers: { reader: LogReader; nextLsn: number }[] = [];
  crashes = 0;

  constructor(prng: Prng) {
    this.prng = prng;
    this.files = new MemoryLogFiles(prng.fork());
  }

  async open(): Promise<void> {
    this.log = await SegmentLog.open(this.files, {
      segmentBytes: this.prng.pick([200, 1000, 4000, 60_000]),
      recentBytes: this.prng.pick([0, 1000, 1e6]),
      sparesMax: this.prng.pick([0, 1, 3]),
    });
    this.readers = [];
  }

  /** All that is in the log is what was appended, without a hole, and all that is durable is. */
  async judge(): Promise<void> {
    const { log } = this;
    assert.ok(log.lastLsn >= this.durableLsn, `${log.lastLsn} >= ${this.durableLsn}`);
    assert.equal(log.durableLsn, log.lastLsn);
    assert.ok(log.firstLsn <= Math.max(this.trimmedBelow, this.streams[0]?.firstLsn ?? 1));
    const found = await readAll(log, log.firstLsn, this.prng.pick(["written", "durable"]));
    const expected = this.appended.filter((lsn) => lsn >= log.firstLsn && lsn <= log.lastLsn);
    const firstLsns = found.map(({ firstLsn }) => firstLsn);
    assert.deepEqual(firstLsns, expected);
    for (const { firstLsn, stream, payload } of found) {
      assert.ok(isRight(firstLsn, payload), `LSN ${firstLsn}`);
      assert.equal(stream[0], this.#streamOf(firstLsn));
    }
    await log.check();
  }

  /** What a crash took is forgotten, and the log is gone on with. */
  forget(): void {
    const { lastLsn } = this.log;
    this.appended = this.appended.filter((lsn) => lsn <= lastLsn);
    const stream = this.log.stream?.[0];
    const index = this.streams.findIndex(({ number }) => number === stream);
    this.streams.splice(index + 1);
    this.durableLsn = Math.max(this.durableLsn, this.log.durableLsn);
  }

  #streamOf(lsn: number): number | undefined {
    return this.streams.findLast(({ firstLsn }) => firstLsn <= lsn)?.number;
  }
}

function isRight(lsn: number, payload: Uint8Array): boolean {
  return Buffer.compare(payload, payloadOf(lsn)) === 0;
}

/** The log has failed as it should in these; what else is thrown fails the test. */
const EXPECTED: ReadonlySet<unknown> = new Set(["LOG_FULL", "LOG_IO", "LOG_TRIMMED"]);

function tolerate(error: unknown): void {
  if (!EXPECTED.has((error as { code?: unknown }).code)) throw error;
}

type Action = (model: Model) => Promise<void>;

async function append({ log, appended, prng, streams }: Model): Promise<void> {
  if (streams.length === 0) return;
  const first = log.appendedLsn + 1;
  appendSome(log, 1 + prng.int(6));
  if (prng.chance(0.2)) appendInPages(log);
  for (let lsn = first; lsn <= log.appendedLsn; lsn++) appended.push(lsn);
}

async function sync(model: Model): Promise<void> {
  const { log } = model;
  const lsn = log.appendedLsn;
  const durableLsn = await log.sync();
  assert.ok(durableLsn >= lsn);
  model.durableLsn = Math.max(model.durableLsn, durableLsn);
}

async function syncsAtOnce(model: Model): Promise<void> {
  const syncs: Promise<void>[] = [];
  for (let count = 1 + model.prng.int(4); count > 0; count--) {
    await append(model);
    syncs.push(model.prng.chance(0.7) ? sync(model) : model.log.flush().then(() => undefined));
    if (model.prng.chance(0.3)) syncs.push(read(model));
    if (model.prng.chance(0.3)) syncs.push(trim(model));
  }
  const results = await Promise.allSettled(syncs);
  for (const result of results) if (result.status === "rejected") tolerate(result.reason);
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

async function startStream(model: Model): Promise<void> {
  const { log, prng, streams } = model;
  const firstLsn = log.appendedLsn + 1 + prng.pick([0, 0, prng.int(50)]);
  const number = 1 + (model.streamCount++ % 250);
  // An empty stream of the same LSN is replaced; whether it was is seen after a crash.
  const entry = { firstLsn, number };
  streams.push(entry);
  try {
    await log.startStream(streamId(number), firstLsn);
    model.durableLsn = Math.max(model.durableLsn, firstLsn - 1);
  } catch (error) {
    if ((error as { code?: unknown }).code === "LOG_FULL") streams.pop();
    throw error;
  }
}

async function trim(model: Model): Promise<void> {
  const { log, prng } = model;
  const lsn = log.firstLsn + prng.int(Math.max(1, log.durableLsn - log.firstLsn + 3));
  model.trimmedBelow = Math.max(model.trimmedBelow, lsn + 60);
  await log.trimBelow(lsn);
}

async function read(model: Model): Promise<void> {
  const { log, prng, readers, appended } = model;
  if (readers.length < 3) {
    const nextLsn = prng.chance(0.5) ? log.firstLsn : log.firstLsn + prng.int(40);
    readers.push({ reader: log.reader(nextLsn, prng.pick(["written", "durable"])), nextLsn });
  }
  const one = readers.splice(prng.int(readers.length), 1)[0]!;
  for (let most = prng.int(20); most > 0; most--) {
    const entry = await one.reader.next();
    if (entry === undefined) break;
    const expected = appended.find((lsn) => lsn >= one.nextLsn);
    assert.equal(entry.firstLsn, expected);
    assert.ok(isRight(entry.firstLsn, entry.payload));
    one.nextLsn = entry.lastLsn + 1;
  }
  readers.push(one);
}

async function fullDisk(model: Model): Promise<void> {
  model.files.capacityBytes = model.log.bytes + model.prng.int(model.prng.pick([1500, 30_000]));
  try {
    await syncsAtOnce(model);
  } finally {
    model.files.capacityBytes = Number.POSITIVE_INFINITY;
  }
}

const ACTIONS: readonly Action[] = [
  append,
  append,
  append,
  sync,
  sync,
  syncsAtOnce,
  syncsAtOnce,
  startStream,
  trim,
  read,
  read,
  fullDisk,
];

/** Until a crash: between two operations of the disk, or an operation that fails. */
async function live(model: Model): Promise<void> {
  const { files, prng } = model;
  const endsAt = files.operations + prng.int(150);
  const code = prng.pick(["EIO", "ENOSPC", "EDEAD"]);
  let isDead = false;
  files.fault = () => {
    if (files.operations < endsAt) return undefined;
    // One error only, or the power is gone for everything.
    if (isDead && code !== "EDEAD") return undefined;
    isDead = true;
    return code;
  };
  while (files.operations < endsAt) {
    const action = prng.pick(model.streams.length === 0 ? [startStream] : ACTIONS);
    try {
      await action(model);
    } catch (error) {
      tolerate(error);
      if ((error as { code?: unknown }).code === "LOG_IO") break;
    }
  }
}

async function run(seed: number): Promise<void> {
  const model = new Model(new Prng(seed));
  await model.open();
  for (let life = 0; life < 6; life++) {
    await live(model);
    // Killed: the machine goes on. Or the power is cut, sometimes again while the log is opened.
    model.files = model.prng.chance(0.3) ? model.files.reopen() : model.files.crash();
    while (model.prng.chance(0.3)) await crashWhileOpening(model);
    await model.open();
    await model.judge();
    model.forget();
  }
  await model.log.close();
}

async function crashWhileOpening(model: Model): Promise<void> {
  const { files, prng } = model;
  const endsAt = prng.int(20);
  files.fault = () => (files.operations > endsAt ? "EDEAD" : undefined);
  await SegmentLog.open(files).then(
    (log) => {
      // What has been opened counts: its LSNs were reported as durable.
      model.durableLsn = Math.max(model.durableLsn, log.durableLsn);
    },
    (error: unknown) => tolerate(error),
  );
  files.fault = undefined;
  model.files = files.crash();
}

test(`the log keeps its promises, seeds from STANDIN_SEED=${SEED}`, async () => {
  for (let seed = SEED; seed < SEED + RUNS; seed++) {
    try {
      await run(seed);
    } catch (error) {
      throw new Error(`STANDIN_SEED=${seed} STANDIN_RUNS=1`, { cause: error });
    }
  }
});
