import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import { Prng } from "../base/prng.ts";
import { Ring, RingWriter } from "../journal/ring.ts";
import { SegmentLog } from "../journal/segment-log.ts";
import { OP_HEADER_BYTES, OpKind } from "../model/op.ts";
import { type Clock, systemClock } from "../platform/clock.ts";
import { makeTemporaryFolder, removeTree } from "../platform/files.ts";
import { MemoryLogFiles } from "../platform/memory-log-files.ts";
import { type Frame, FRAME_ZSTD, FrameParser, FrameType } from "../protocol/frame.ts";
import { OpStore } from "./op-store.ts";
import { FRAME_CHECKSUMS } from "./stream-connection.ts";
import { StreamSource } from "./stream-source.ts";

const OP_BYTES = 64 << 10;

/** A network that takes what was written when it is told to. */
class HeldSocket extends Duplex {
  readonly frames: Frame[] = [];
  readonly #parser = new FrameParser(FRAME_CHECKSUMS);
  readonly #held: (() => void)[] = [];

  override _read(): void {}

  override _write(chunk: Uint8Array, _encoding: string, done: () => void): void {
    this.frames.push(...this.#parser.push(chunk));
    this.#held.push(done);
  }

  async deliver(): Promise<void> {
    await turn();
    for (let done = this.#held.shift(); done !== undefined; done = this.#held.shift()) {
      done();
      await turn();
    }
  }
}

class Bench {
  readonly socket = new HeldSocket();
  readonly #source: StreamSource;
  readonly #store: OpStore;
  readonly #writer: RingWriter;
  #nowMs = 1000;
  /** Of the source's ring. */
  gaps = 0;

  private constructor(t: TestContext, ring: Ring, spill: SegmentLog) {
    const clock: Clock = { ...systemClock, monotonicMs: () => this.#nowMs };
    this.#writer = new RingWriter(ring, 0);
    this.#store = new OpStore(ring, spill);
    const connection = {
      socket: this.socket,
      parser: new FrameParser(FRAME_CHECKSUMS),
      early: [],
    };
    this.#source = new StreamSource({
      clock,
      store: this.#store,
      connect: () => Promise.resolve({ connection, welcome: { durable: 0, applied: 0 } }),
      ringState: () => ({ recording: 1, gaps: this.gaps, engineGeneration: 1, lsn: ring.head }),
      onTarget: () => {},
      onChange: () => {},
      compression: "adaptive",
      owners: undefined,
      route: (records) => records,
      allowance: () => Number.POSITIVE_INFINITY,
    });
    t.after(() => this.#source.stop());
  }

  static async make(t: TestContext): Promise<Bench> {
    const folder = makeTemporaryFolder("standin-stream-source-");
    const sizes = { arenas: 1, indexSlots: 4096, arenaBytes: 8 << 20 };
    const ring = Ring.create(`${folder}/ring`, sizes);
    t.after(() => {
      ring.close();
      removeTree(folder);
    });
    const spill = await SegmentLog.open(new MemoryLogFiles(new Prng(1)));
    return new Bench(t, ring, spill);
  }

  /** One op that zstd makes shorter. The socket is full behind it. */
  async send(): Promise<void> {
    const size = OP_HEADER_BYTES + OP_BYTES;
    const op = this.#writer.op.at(this.#writer.reserve(size));
    op.start(OpKind.write, 0, 1);
    op.size = size;
    op.length = OP_BYTES;
    this.#writer.publish(size);
    await this.pump();
  }

  async pump(): Promise<void> {
    this.#source.pump(this.#store.look());
    await turn();
  }

  pass(ms: number): void {
    this.#nowMs += ms;
  }

  get compressed(): boolean[] {
    const ops = this.socket.frames.filter(({ type }) => type === FrameType.ops);
    return ops.map(({ flags }) => (flags & FRAME_ZSTD) !== 0);
  }
}

test("adaptive compression begins when the network is slow, and ends", async (t) => {
  const bench = await Bench.make(t);
  await bench.pump();
  await bench.send();
  await bench.socket.deliver();
  await bench.send();
  await bench.socket.deliver();
  assert.deepEqual(bench.compressed, [false, false], "a full buffer alone is no slow network");

  await bench.send();
  bench.pass(50);
  await bench.socket.deliver();
  await bench.send();
  await bench.socket.deliver();
  assert.deepEqual(bench.compressed, [false, false, false, true]);

  bench.pass(1001);
  await bench.send();
  await bench.socket.deliver();
  assert.deepEqual(bench.compressed, [false, false, false, true, false]);
});

test("a drain that no ops have waited for says nothing of the network", async (t) => {
  const bench = await Bench.make(t);
  await bench.pump();
  await bench.send();
  await bench.socket.deliver();
  bench.pass(50);
  bench.socket.emit("drain");
  await bench.send();
  await bench.socket.deliver();
  assert.deepEqual(bench.compressed, [false, false]);
});

test("the state of the source is sent when it changes, and not with each LSN", async (t) => {
  const bench = await Bench.make(t);
  const states = () => bench.socket.frames.filter(({ type }) => type === FrameType.source).length;
  for (let ops = 0; ops < 3; ops++) {
    await bench.send();
    await bench.socket.deliver();
  }
  assert.equal(states(), 1);
  bench.gaps = 1;
  await bench.pump();
  await bench.socket.deliver();
  assert.equal(states(), 2);
});
