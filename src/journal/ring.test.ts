import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { Prng } from "../base/prng.ts";
import { OP_BYTES_MAX, OpKind } from "../model/op.ts";
import { NO_ROOM, RecordingState, Ring, RingReader, RingWriter } from "./ring.ts";
import { RingError } from "./ring-error.ts";
import { HeaderAt, INDEX_SLOT_BYTES } from "./ring-layout.ts";

const home = mkdtempSync("/dev/shm/standin-ring-");
after(() => rmSync(home, { recursive: true, force: true }));
const support = (name: string) =>
  fileURLToPath(new URL(`../../test/support/${name}`, import.meta.url));

let count = 0;
function newPath(): string {
  count += 1;
  return `${home}/ring-${count}`;
}
function newRing(sizes: Partial<{ arenas: number; indexSlots: number; arenaBytes: number }> = {}) {
  return Ring.create(newPath(), { arenas: 2, indexSlots: 256, arenaBytes: 1 << 16, ...sizes });
}

function publish(writer: RingWriter, node: number, size = 80): number {
  const at = writer.reserve(size);
  assert.notEqual(at, NO_ROOM);
  assert.equal(at % 8, 0);
  const op = writer.op.at(at);
  op.start(OpKind.write, writer.arena, node);
  op.size = size;
  op.length = size - 80;
  op.bytes.fill(node & 0xff, op.body(0), at + size);
  return writer.publish(size);
}

/** Nodes of all records, 0 for a voided LSN; checks LSNs and contents. */
function readAll(ring: Ring): number[] {
  const reader = new RingReader(ring);
  const nodes: number[] = [];
  for (let op = reader.peek(); op !== undefined; op = reader.peek()) {
    assert.equal(op.lsn, reader.lsnNext);
    nodes.push(op.kind === OpKind.void ? 0 : op.node);
    if (op.kind !== OpKind.void) {
      const { node } = op;
      assert.ok(op.data.every((byte) => byte === (node & 0xff)));
    }
    reader.release();
  }
  return nodes;
}

test("Ring hands records over in the order of their LSNs, from 1, without a gap", () => {
  const ring = newRing();
  const writers = [new RingWriter(ring, 0), new RingWriter(ring, 1)];
  const lsns = [0, 1, 1, 0, 1].map((arena, index) => publish(writers[arena]!, index + 1, 100));
  assert.deepEqual(lsns, [1, 2, 3, 4, 5]);
  assert.equal(ring.head, 5);
  assert.deepEqual(readAll(ring), [1, 2, 3, 4, 5]);
  assert.equal(ring.applied, 5);
  assert.equal(ring.bytesRecorded, 500);
});

test("Ring goes round its arenas and index with records of all sizes, and loses none", () => {
  const prng = new Prng(3);
  const ring = newRing();
  const writers = [new RingWriter(ring, 0), new RingWriter(ring, 1)];
  const reader = new RingReader(ring);
  const expected: number[] = [];
  let isFull = 0;
  for (let node = 1; node <= 20_000; node++) {
    const writer = prng.pick(writers);
    const size = 80 + prng.int(prng.chance(0.1) ? 30_000 : 300);
    const hasRoom = ring.hasIndexRoom() && writer.reserve(size) !== NO_ROOM;
    if (hasRoom) {
      publish(writer, node, size);
      expected.push(node);
    } else isFull += 1;
    const releases = hasRoom ? prng.int(2) : 1 + prng.int(40);
    for (let i = 0; i < releases; i++) {
      const op = reader.peek();
      if (op === undefined) break;
      assert.equal(op.node, expected.shift());
      assert.ok(op.data.every((byte) => byte === (op.node & 0xff)));
      reader.release();
    }
  }
  assert.ok(isFull > 100, "the test fills it");
  assert.deepEqual(readAll(ring), expected);
});

test("RingWriter finds no room before what the reader still needs is overwritten", () => {
  const ring = newRing({ arenaBytes: 4096 });
  const writer = new RingWriter(ring, 0);
  for (let node = 1; node <= 4; node++) publish(writer, node, 1000);
  assert.equal(writer.reserve(1000), NO_ROOM);
  assert.deepEqual(readAll(ring), [1, 2, 3, 4]);
  publish(writer, 5, 4000);
  assert.deepEqual(readAll(ring), [5]);
});

test("RingWriter starts an empty arena over at its beginning", () => {
  const ring = newRing();
  const writer = new RingWriter(ring, 0);
  for (let node = 1; node <= 10; node++) {
    publish(writer, node, 1000);
    assert.deepEqual(readAll(ring), [node]);
    assert.equal(writer.at, ring.layout.dataAt, `record ${node}`);
  }
});

test("RingWriter keeps the place in hand until it publishes", () => {
  const ring = newRing();
  const writer = new RingWriter(ring, 0);
  publish(writer, 1, 200);
  writer.reserve(1000);
  const { start } = writer;
  // The arena is empty now, and reserving again would start over.
  readAll(ring);
  assert.equal(writer.keepOrReserve(500), true);
  assert.equal(writer.start, start);
  assert.equal(writer.keepOrReserve(1001), true);
  assert.notEqual(writer.start, start);
});

test("Ring has no room in its index before a slot would be used twice", () => {
  const ring = newRing({ arenaBytes: 1 << 20 });
  const writer = new RingWriter(ring, 0);
  let node = 0;
  while (ring.hasIndexRoom()) publish(writer, ++node);
  assert.ok(node < ring.layout.indexSlots);
  assert.ok(ring.fill(0) > 0.7);
  assert.equal(readAll(ring).length, node);
  assert.ok(ring.hasIndexRoom());
});

/** LSNs are counted in 32 bits; these are where their halves turn over. */
for (const from of [2 ** 31 - 50, 2 ** 32 - 50, 2 ** 40 - 50]) {
  test(`Ring counts on beyond LSN ${from}`, () => {
    const ring = newRing();
    ring.i32[HeaderAt.head / 4] = from | 0;
    new Float64Array(ring.memory.buffer)[HeaderAt.applied / 8] = from;
    const writer = new RingWriter(ring, 0);
    for (let node = 1; node <= 100; node++) assert.equal(publish(writer, node), from + node);
    assert.equal(ring.head, from + 100);
    assert.equal(readAll(ring).length, 100);
    assert.equal(ring.applied, from + 100);
    assert.equal(ring.head, from + 100);
  });
}

/** Undoes the last stores of a publish: what is there when its thread was killed before them. */
const KILLS: Readonly<Record<string, (ring: Ring, lsn: number, head: number) => void>> = {
  "after it took the LSN": (ring, lsn, head) => {
    const slot = ring.layout.indexAt + (lsn & (ring.layout.indexSlots - 1)) * INDEX_SLOT_BYTES;
    ring.memory.bytes.fill(0, slot, slot + INDEX_SLOT_BYTES);
    ring.setArenaHead(0, head);
  },
  "before the word that shows the record": (ring, lsn, head) => {
    const slot = ring.layout.indexAt + (lsn & (ring.layout.indexSlots - 1)) * INDEX_SLOT_BYTES;
    ring.memory.bytes.fill(0, slot, slot + 4);
    ring.setArenaHead(0, head);
  },
  "before the arena's head": (ring, _lsn, head) => ring.setArenaHead(0, head),
  "at the very end": () => {},
};

for (const [when, kill] of Object.entries(KILLS)) {
  test(`Ring goes on when a writer was killed ${when}`, () => {
    const path = newPath();
    const ring = Ring.create(path, { arenas: 2, indexSlots: 256, arenaBytes: 1 << 16 });
    const writers = [new RingWriter(ring, 0), new RingWriter(ring, 1)] as const;
    for (let node = 1; node <= 5; node++) publish(writers[node & 1]!, node, 1000);
    const head = ring.arenaHead(0);
    const lsn = publish(writers[0], 6, 1000);
    publish(writers[1], 7, 1000);
    kill(ring, lsn, head);
    const isLost = when.startsWith("after") || when.startsWith("before the word");
    // A reader that is alive meanwhile stops at the hole.
    const next = Ring.open(path);
    const holes = next.voidHoles();
    assert.equal(holes, isLost ? 1 : 0);
    const again = new RingWriter(next, 0);
    publish(again, 8, 1000);
    assert.deepEqual(readAll(next), [1, 2, 3, 4, 5, isLost ? 0 : 6, 7, 8]);
    assert.equal(next.voidHoles(), 0);
  });
}

for (const [when, kill] of Object.entries(KILLS)) {
  test(`Ring takes the ops of its one writer again when it was killed ${when}`, () => {
    const path = newPath();
    const ring = Ring.create(path, { arenas: 1, indexSlots: 256, arenaBytes: 1 << 16 });
    const writer = new RingWriter(ring, 0);
    for (let node = 1; node <= 5; node++) publish(writer, node, 1000);
    const head = ring.arenaHead(0);
    const lsn = publish(writer, 6, 1000);
    kill(ring, lsn, head);
    const isLost = when.startsWith("after") || when.startsWith("before the word");
    const next = Ring.open(path);
    assert.equal(next.takeBackHole(), isLost);
    assert.equal(next.head, isLost ? 5 : 6);
    const again = new RingWriter(next, 0);
    for (let node = next.head + 1; node <= 8; node++) assert.equal(publish(again, node), node);
    assert.deepEqual(readAll(next), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert.equal(next.takeBackHole(), false);
    assert.equal(next.head, 8);
  });
}

test("Ring voids the LSNs of all its killed writers, and an empty one has none", () => {
  const ring = newRing();
  assert.equal(ring.voidHoles(), 0);
  Atomics.add(ring.i32, HeaderAt.head / 4, 3);
  publish(new RingWriter(ring, 1), 4);
  assert.equal(ring.voidHoles(), 3);
  assert.deepEqual(readAll(ring), [0, 0, 0, 4]);
});

test("Ring refuses files that are no ring, of another version, or cut", () => {
  const path = newPath();
  writeFileSync(path, Buffer.alloc(65_536, 7));
  assert.throws(() => Ring.open(path), RingError);
  const ring = Ring.create(path, { arenas: 1, indexSlots: 256, arenaBytes: 1 << 16 });
  ring.setWord(HeaderAt.version, 99);
  assert.throws(() => Ring.open(path), RingError);
  ring.setWord(HeaderAt.version, 1);
  truncateSync(path, ring.layout.totalBytes - 4096);
  assert.throws(() => Ring.open(path), RingError);
});

test("Ring wakes a sleeping reader and lets it give up after its time", () => {
  const ring = newRing();
  const startMs = performance.now();
  ring.waitBeyond(0, 50);
  assert.ok(performance.now() - startMs >= 40);
  publish(new RingWriter(ring, 0), 1);
  const secondMs = performance.now();
  ring.waitBeyond(0, 5000);
  assert.ok(performance.now() - secondMs < 1000, "there is something already");
  ring.recording = RecordingState.gap;
  assert.equal(ring.recording, RecordingState.gap);
});

test("Ring carries what four threads write to a reader in another process", async () => {
  const path = newPath();
  const threads = 4;
  const perThread = 3000;
  const sizes = { arenas: threads, indexSlots: 1024, arenaBytes: 1 << 20 };
  Ring.create(path, sizes).recording = RecordingState.on;
  const child = spawn(
    process.execPath,
    [support("ring-reader-child.ts"), path, String(threads * perThread), "30000"],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  for (let arena = 0; arena < threads; arena++) {
    const workerData = { path, arena, count: perThread };
    new Worker(support("ring-writer-worker.ts"), { workerData }).unref();
  }
  await ended;
  const sum = (threads * perThread * (perThread + 1)) / 2;
  assert.deepEqual(JSON.parse(text), { last: threads * perThread, sum, voids: 0 });
});

test("a record of the largest size fits the smallest arena that is allowed", () => {
  const ring = newRing({ arenaBytes: 4 << 20 });
  const writer = new RingWriter(ring, 0);
  for (let node = 1; node <= 3; node++) publish(writer, node, OP_BYTES_MAX);
  assert.deepEqual(readAll(ring), [1, 2, 3]);
});
