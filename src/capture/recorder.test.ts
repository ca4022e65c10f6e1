import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { after, test } from "node:test";
import { FakeKernel } from "../../test/support/fake-kernel.ts";
import { Opcode } from "../fuse/abi.ts";
import { RecordingState, Ring, RingReader } from "../journal/ring.ts";
import { HeaderAt } from "../journal/ring-layout.ts";
import { OP_BYTES_MAX, OpKind, opKindName } from "../model/op.ts";
import { allocateNative, nativeOf } from "../platform/native.ts";
import { Recorder } from "./recorder.ts";

const home = mkdtempSync("/dev/shm/standin-recorder-");
after(() => rmSync(home, { recursive: true, force: true }));

let count = 0;
function newRecorder(indexSlots = 256): { ring: Ring; recorder: Recorder; kernel: FakeKernel } {
  count += 1;
  const sizes = { arenas: 1, indexSlots, arenaBytes: 4 << 20 };
  const ring = Ring.create(`${home}/ring-${count}`, sizes);
  ring.recording = RecordingState.on;
  const memory = nativeOf(ring.memory);
  const spare = allocateNative(OP_BYTES_MAX);
  const recorder = new Recorder({ ring, arena: 0, mount: 0, memory, spare });
  const kernel = new FakeKernel(new Map([[Opcode.statfs, () => 0]]));
  kernel.answer({ opcode: Opcode.statfs, unique: 8n });
  return { ring, recorder, kernel };
}

function record(recorder: Recorder, kernel: FakeKernel, node: number): boolean {
  if (!recorder.begin(kernel.session.request, 200)) {
    recorder.lose();
    return false;
  }
  recorder.start(OpKind.forget, 0, node);
  const { head } = recorder.ring;
  recorder.commit();
  assert.equal(recorder.ring.head, head + 1);
  return true;
}

function readAll(ring: Ring): number[] {
  const reader = new RingReader(ring);
  const nodes: number[] = [];
  for (let op = reader.peek(); op !== undefined; op = reader.peek()) {
    assert.equal(opKindName(op.kind), "forget");
    nodes.push(op.node);
    reader.release();
  }
  return nodes;
}

test("Recorder publishes in the order in which it was asked", () => {
  const { ring, recorder, kernel } = newRecorder();
  for (let node = 1; node <= 5; node++) assert.equal(record(recorder, kernel, node), true);
  assert.deepEqual(readAll(ring), [1, 2, 3, 4, 5]);
});

test("Recorder gives up after a bounded wait when nobody reads, once and for all", () => {
  const { ring, recorder, kernel } = newRecorder();
  let node = 0;
  while (ring.hasIndexRoom()) record(recorder, kernel, ++node);
  const kept = node;
  assert.equal(record(recorder, kernel, ++node), false);
  assert.equal(ring.recording, RecordingState.gap);
  assert.equal(ring.word(HeaderAt.gaps), 1);
  for (let i = 0; i < 100; i++) assert.equal(record(recorder, kernel, ++node), false);
  assert.equal(ring.word(HeaderAt.opsLost), 101);
  // Room alone does not end a gap: what is recorded behind it would be out of order.
  assert.deepEqual(
    readAll(ring),
    Array.from({ length: kept }, (_, at) => at + 1),
  );
  assert.equal(record(recorder, kernel, ++node), false);
  assert.deepEqual(readAll(ring), []);
  ring.recording = RecordingState.on;
  assert.equal(record(recorder, kernel, 7), true);
  assert.deepEqual(readAll(ring), [7]);
});

test("Recorder records nothing, and loses nothing, while nobody keeps a copy", () => {
  const { ring, recorder, kernel } = newRecorder();
  ring.recording = RecordingState.off;
  assert.equal(record(recorder, kernel, 1), false);
  assert.equal(ring.word(HeaderAt.opsLost), 0);
  assert.deepEqual(readAll(ring), []);
});

test("Recorder receives in the arena while it has room, and elsewhere when it has none", () => {
  const { ring, recorder, kernel } = newRecorder(1 << 16);
  assert.equal(recorder.requestSpace().memory.bytes.length, ring.memory.size);
  let node = 0;
  const isInArena = () => recorder.requestSpace().memory.bytes.length === ring.memory.size;
  while (isInArena() && node < 100_000) record(recorder, kernel, ++node);
  assert.ok(node > 10_000);
  assert.equal(recorder.requestSpace().base, 0);
  readAll(ring);
  assert.ok(isInArena());
});
