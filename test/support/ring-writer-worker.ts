/** A thread that publishes records as fast as the ring takes them. */
import { workerData } from "node:worker_threads";
import { NO_ROOM, Ring, RingWriter } from "../../src/journal/ring.ts";
import { OpKind } from "../../src/model/op.ts";

const { path, arena, count } = workerData as { path: string; arena: number; count: number };
const nap = new Int32Array(new SharedArrayBuffer(4));
const ring = Ring.open(path);
const writer = new RingWriter(ring, arena);
const deadline = performance.now() + 20_000;
for (let node = 1; node <= count && performance.now() < deadline; ) {
  const size = 80 + ((node * 37) % 5000);
  const at = ring.hasIndexRoom() ? writer.reserve(size) : NO_ROOM;
  if (at === NO_ROOM) {
    Atomics.wait(nap, 0, 0, 1);
    continue;
  }
  const op = writer.op.at(at);
  op.start(OpKind.write, arena, node);
  op.size = size;
  op.length = size - 80;
  op.bytes.fill(node & 0xff, op.body(0), at + size);
  writer.publish(size);
  node += 1;
}
