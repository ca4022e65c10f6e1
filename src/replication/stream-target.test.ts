/** What a target takes of a source that is cut off, damaged or hostile: whole ops, or nothing. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { type Duplex, duplexPair } from "node:stream";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import { recordsOf } from "../../test/support/ops.ts";
import { Prng } from "../base/prng.ts";
import { CommandKind, CommandQueue } from "../journal/command-queue.ts";
import { RecordingState, Ring, RingReader } from "../journal/ring.ts";
import { HeaderAt } from "../journal/ring-layout.ts";
import { SegmentLog, type SegmentLogOptions } from "../journal/segment-log.ts";
import { appendDirectoryEntry, startMirrorDirectory } from "../model/mirror-record.ts";
import { OP_HEADER_BYTES, OpKind, OpView, TIME_BYTES } from "../model/op.ts";
import type { OpRecords } from "../model/op-records.ts";
import { systemClock } from "../platform/clock.ts";
import { MemoryLogFiles } from "../platform/memory-log-files.ts";
import {
  FrameParser,
  FrameType,
  framePieces,
  jsonPayload,
  parseJsonPayload,
} from "../protocol/frame.ts";
import {
  parseTargetState,
  type SourceState,
  type TargetCopy,
  type TargetState,
} from "../protocol/stream-messages.ts";
import { FRAME_CHECKSUMS } from "./stream-connection.ts";
import { StreamTarget } from "./stream-target.ts";

const COPY: TargetCopy = {
  ...{ due: "none", gaps: 0, work: null, percent: 0, etaSeconds: null, filesDone: 0 },
  ...{ filesTotal: 0, bytesDone: 0, bytesTotal: 0, pendingResyncs: 0, isPaused: false },
  ...{ isReplicaFull: false, problem: null, unknownOwners: { count: 0, names: [] } },
};

class Bench {
  readonly log: SegmentLog;
  readonly ring: Ring;
  readonly target: StreamTarget;
  /** Why connections ended. */
  readonly ends: string[] = [];
  /** Where they are, as they were heard of. */
  readonly gaps: number[] = [];
  /** How many the source counted, each time that it said so. */
  readonly heard: number[] = [];

  private constructor(t: TestContext, log: SegmentLog) {
    const shm = mkdtempSync("/dev/shm/standin-stream-");
    const sizes = { arenas: 1, indexSlots: 1 << 12, arenaBytes: 1 << 20 };
    const ring = Ring.create(`${shm}/ring`, sizes, 1);
    this.log = log;
    this.ring = ring;
    this.target = new StreamTarget({
      clock: systemClock,
      log,
      ring,
      owners: undefined,
      routing: undefined,
      sourceSaid: null,
      onSource: ({ gaps }) => void this.heard.push(gaps),
      onGap: (behind) => void this.gaps.push(behind),
      copy: () => COPY,
      onChange: ({ connected, why }) => void (connected || this.ends.push(why)),
      onBroken: (error) => assert.fail(error),
    });
    const pumping = setInterval(() => this.target.pump(), 1);
    t.after(async () => {
      clearInterval(pumping);
      await this.target.stop();
      await log.close();
      ring.close();
      rmSync(shm, { recursive: true });
    });
    this.target.start();
  }

  static async make(t: TestContext, options: SegmentLogOptions = {}): Promise<Bench> {
    const log = await SegmentLog.open(new MemoryLogFiles(new Prng(1)), options);
    await log.startStream(new Uint8Array(16), 1);
    return new Bench(t, log);
  }

  /** The source's end of a connection that was opened. */
  attach(connection: number): Duplex {
    const [near, far] = duplexPair();
    far.resume();
    far.on("error", () => {});
    this.target.attach(connection, { socket: near, parser: newParser(), early: [] });
    return far;
  }

  /** Connects and sends the bytes, then nothing more. Settles when the connection has ended. */
  async send(bytes: Uint8Array): Promise<{ readonly durable: number; readonly why: string }> {
    const { connection, welcome } = this.target.open();
    const answer = await welcome;
    assert.ok(answer);
    const far = this.attach(connection);
    const before = this.ends.length;
    far.end(bytes);
    while (this.ends.length === before) await turn();
    return { durable: answer.durable, why: this.ends.at(-1) ?? "" };
  }

  async untilDurable(lsn: number): Promise<void> {
    while (this.target.durable < lsn) await turn();
    assert.equal(this.target.durable, lsn);
  }

  /** Everything that is in the log, one record behind the other. */
  async content(): Promise<Buffer> {
    const reader = this.log.reader(1, "durable");
    const found: Uint8Array[] = [];
    for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) {
      found.push(entry.payload.slice());
    }
    await reader.close();
    return Buffer.concat(found);
  }
}

function newParser(): FrameParser {
  return new FrameParser(FRAME_CHECKSUMS);
}

function stateFrame(state: Partial<SourceState>): Buffer {
  const { on: recording } = RecordingState;
  const payload = jsonPayload({ recording, gaps: 0, engineGeneration: 1, lsn: 0, ...state });
  const type = FrameType.source;
  return Buffer.concat(framePieces({ type, payload, a: 0, b: 0 }, FRAME_CHECKSUMS));
}

function frame({ firstLsn: a, lastLsn: b, payload }: OpRecords, type: FrameType = FrameType.ops) {
  return Buffer.concat(framePieces({ type, payload, a, b }, FRAME_CHECKSUMS));
}

/** Two writes that say which they are. */
function pair(firstLsn: number): OpRecords {
  return recordsOf(
    firstLsn,
    [0, 1].map((at) => ({ data: Buffer.from(`op ${firstLsn + at}`) })),
  );
}

/** One op with a body of its own. */
function single(lsn: number, kind: OpKind, fill: (op: OpView) => void): OpRecords {
  const op = new OpView(new ArrayBuffer(4096)).at(0);
  op.start(kind, 0, 42);
  fill(op);
  op.lsn = lsn;
  const payload = new Uint8Array((op.size + 7) & ~7);
  payload.set(op.bytes.subarray(0, op.size));
  return { firstLsn: lsn, lastLsn: lsn, payload };
}

function named(lsn: number, kind: OpKind, first: string, second = ""): OpRecords {
  return single(lsn, kind, (op) => {
    const at = kind === OpKind.rename ? 2 * TIME_BYTES : kind === OpKind.setxattr ? 0 : TIME_BYTES;
    op.length1 = first.length;
    op.length2 = second.length;
    op.bytes.set(Buffer.from(first + second), op.body(at));
    op.size = OP_HEADER_BYTES + at + first.length + second.length;
  });
}

function listing(lsn: number, name: string): OpRecords {
  return single(lsn, OpKind.mirrorDirectory, (op) => {
    startMirrorDirectory(op);
    const numbers = { ino: 7, size: 0, mtimeSec: 0, mtimeNsec: 0, uid: 0, gid: 0, links: 1 };
    const mode = 0o100644;
    const bytes = { name: Buffer.from(name), target: new Uint8Array(0) };
    appendDirectoryEntry(op, { ...numbers, mode, rdev: 0, ...bytes });
  });
}

test("a connection cut at any byte gives whole frames, each op once", async (t) => {
  const bench = await Bench.make(t);
  const sizes = [1, 3, 5].map((lsn) => frame(pair(lsn)).length);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const expected: Uint8Array[] = [];
  let last = 0;
  for (let cut = 0; cut <= total; cut++) {
    const records = [1, 3, 5].map((at) => pair(last + at));
    const bytes = Buffer.concat(records.map((each) => frame(each))).subarray(0, cut);
    const first = await bench.send(bytes);
    assert.equal(first.durable, last);
    assert.equal(first.why, "the peer has ended the connection");
    let whole = 0;
    for (let end = sizes[0]!; end <= bytes.length; whole++) end += sizes[whole + 1] ?? total;
    const again = await bench.send(Buffer.concat(records.map((each) => frame(each))));
    assert.equal(again.durable, last + whole * 2, `cut at ${cut}: no op of half a frame`);
    last += 6;
    await bench.untilDurable(last);
    expected.push(...records.map(({ payload }) => payload));
  }
  assert.ok(bench.target.duplicates > 0);
  assert.ok((await bench.content()).equals(Buffer.concat(expected)), "each once, in order");
});

test("memory of what was received is used again only when the ring has it", async (t) => {
  const bench = await Bench.make(t, { recentBytes: 256 << 10 });
  const { connection, welcome } = bench.target.open();
  assert.ok(await welcome);
  const source = bench.attach(connection);
  const data = (lsn: number) => Buffer.alloc(3000, `op ${lsn}, `);
  const reader = new RingReader(bench.ring);
  let sent = 0;
  for (let round = 0; round < 3; round++) {
    // More than the ring takes: the feeder waits with one in hand, and the log forgets it.
    for (let slice = 0; slice < 10; slice++) {
      for (let count = 0; count < 50; count++) {
        sent += 1;
        source.write(frame(recordsOf(sent, [{ data: data(sent) }])));
      }
      await bench.untilDurable(sent);
    }
    assert.ok(bench.ring.head < sent, "the ring is full");
    while (reader.lsnNext <= sent) {
      const op = reader.peek();
      if (op === undefined) {
        await turn();
        continue;
      }
      const body = op.bytes.subarray(op.body(0), op.body(0) + 3000);
      assert.ok(data(reader.lsnNext).equals(body), `op ${reader.lsnNext} is as it was sent`);
      reader.release();
    }
  }
});

/** What a target says on a connection, besides positions, as it says it. */
function listen(far: Duplex): TargetState[] {
  const said: TargetState[] = [];
  const parser = newParser();
  far.on("data", (chunk: Uint8Array) => {
    for (const { type, payload } of parser.push(chunk)) {
      if (type === FrameType.asks) said.push(parseTargetState(parseJsonPayload(payload)));
    }
  });
  return said;
}

function asksIn(said: readonly TargetState[]): number[] {
  return said.flatMap(({ asks = [] }) => asks.map(([number]) => number));
}

/** Until what was there before the call was pumped, twice. */
async function pumped({ target }: Bench): Promise<void> {
  for (let i = 0; i < 2; i++) {
    target.pump();
    await turn();
  }
}

test("a target asks nothing of a source that may drop it, recording nothing", async (t) => {
  const bench = await Bench.make(t);
  const queue = new CommandQueue(bench.ring);
  const ask = (number: number): void => {
    const range = { mount: 0, node: 42, offset: 0, length: 0 };
    assert.equal(queue.push({ number, kind: CommandKind.node, ...range }), true);
  };
  const say = (far: Duplex, recording: number) => far.write(stateFrame({ recording }));
  for (const [round, number] of [1, 2].entries()) {
    const { connection, welcome } = bench.target.open();
    assert.ok(await welcome);
    const far = bench.attach(connection);
    const said = listen(far);
    ask(number);
    // Nothing was said on this connection: what an earlier one said may not be so any more.
    await pumped(bench);
    assert.deepEqual(asksIn(said), [], `round ${round}`);
    say(far, RecordingState.off);
    await pumped(bench);
    assert.deepEqual(asksIn(said), []);
    say(far, RecordingState.on);
    while (asksIn(said).length === 0) await turn();
    assert.deepEqual(asksIn(said), [number]);
  }
});

test("a source that records nothing is asked to, for the pass that has begun", async (t) => {
  const bench = await Bench.make(t);
  const { connection, welcome } = bench.target.open();
  assert.ok(await welcome);
  const far = bench.attach(connection);
  const said = listen(far);
  // As an applier does when it begins its pass.
  bench.ring.recording = RecordingState.on;
  far.write(stateFrame({ recording: RecordingState.off }));
  while (!said.some(({ record }) => record === 0)) await pumped(bench);
  assert.equal(bench.ring.recording, RecordingState.on);
  // Changes that were missed meanwhile are not in that pass.
  far.write(stateFrame({ recording: RecordingState.off, gaps: 1 }));
  while (bench.ring.word(HeaderAt.gaps) === 0) await pumped(bench);
  assert.equal(bench.ring.recording, RecordingState.off);
});

test("a target that is stopped takes nothing more, of no connection", async (t) => {
  const bench = await Bench.make(t);
  const { connection, welcome } = bench.target.open();
  assert.ok(await welcome);
  await bench.target.stop();
  // The agent stops the applier next, which takes long; sources connect meanwhile.
  const late = bench.attach(connection);
  late.write(frame(pair(1)));
  await bench.log.close();
  late.write(frame(pair(3)));
  while (!late.readableEnded && !late.destroyed) await turn();
  assert.equal(bench.log.appendedLsn, 0);
  assert.equal(bench.log.onDone, undefined, "the log may have another owner");
  assert.equal(await bench.target.open().welcome, undefined);
});

test("a target that is sealed takes nothing more, and makes durable what it has", async (t) => {
  const bench = await Bench.make(t);
  const first = bench.target.open();
  assert.ok(await first.welcome);
  const used = bench.attach(first.connection);
  used.write(frame(pair(1)));
  while (bench.target.received < 2) await turn();
  const { connection, welcome } = bench.target.open();
  assert.ok(await welcome);
  bench.target.seal();
  const late = bench.attach(connection);
  late.write(frame(pair(3)));
  while (!late.readableEnded && !late.destroyed) await turn();
  await bench.untilDurable(2);
  assert.equal(bench.target.received, 2);
  assert.equal(await bench.target.open().welcome, undefined);
});

/** Each is sent where op `lsn` should come. */
const BAD: readonly (readonly [what: string, why: RegExp, make: (lsn: number) => Uint8Array])[] = [
  ["no frame", /no frame of ours/, () => Buffer.alloc(64, 0xa5)],
  ["a frame over the limit", /over the limit/, (lsn) => withHeader(lsn, 0, 0xffff_ffff)],
  ["more than it says", /over the limit/, (lsn) => withHeader(lsn, 12, 0xffff_ffff)],
  ["a wrong checksum", /damaged on its way/, (lsn) => flipped(lsn, 40)],
  ["a wrong checksum of the header", /damaged on its way/, (lsn) => flipped(lsn, 16)],
  ["an unknown type", /unknown type 99/, (lsn) => withHeader(lsn, 4, 99 + 0x5353_0000)],
  ["another's frame", /does not send frames/, (lsn) => frame(pair(lsn), FrameType.positions)],
  ["ops of another place", /ops .* came behind/, (lsn) => frame(pair(lsn + 1))],
  ["other ops than said", /stands where/, (lsn) => frame({ ...pair(lsn + 1), firstLsn: lsn })],
  ["a cut op", /op has size|op is cut/, (lsn) => frame(shortened(pair(lsn)))],
  ["an unknown kind", /unknown kind/, (lsn) => frame(single(lsn, 99 as OpKind, () => {}))],
  ["create ..", /forbidden name/, (lsn) => frame(named(lsn, OpKind.create, ".."))],
  ["create a/b", /forbidden name/, (lsn) => frame(named(lsn, OpKind.create, "a/b"))],
  ["create a\\0", /forbidden name/, (lsn) => frame(named(lsn, OpKind.create, "a\0"))],
  ["create to a\\0", /forbidden target/, (lsn) => frame(named(lsn, OpKind.create, "a", "b\0"))],
  ["unlink ../x", /forbidden name/, (lsn) => frame(named(lsn, OpKind.unlink, "../x"))],
  ["link .", /forbidden name/, (lsn) => frame(named(lsn, OpKind.link, "."))],
  ["rename to ../x", /forbidden new name/, (lsn) => frame(named(lsn, OpKind.rename, "a", "../x"))],
  ["an xattr a\\0", /forbidden name/, (lsn) => frame(named(lsn, OpKind.setxattr, "a\0", "v"))],
  ["a listing with ..", /forbidden name/, (lsn) => frame(listing(lsn, ".."))],
  ["a listing with ../x", /forbidden name/, (lsn) => frame(listing(lsn, "../x"))],
  ["a listing with a\\0", /forbidden name/, (lsn) => frame(listing(lsn, "a\0"))],
  ["a listing that is cut", /cut|beyond its end/, (lsn) => frame(cutListing(lsn))],
  ["a node without a body", /mirror-node is cut/, (lsn) => frame(emptyNode(lsn))],
];

function withHeader(lsn: number, at: number, value: number): Uint8Array {
  const bytes = frame(pair(lsn));
  bytes.writeUInt32LE(value, at);
  return bytes;
}
function flipped(lsn: number, at: number): Uint8Array {
  const bytes = frame(pair(lsn));
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  return bytes;
}
function shortened(records: OpRecords): OpRecords {
  return { ...records, payload: records.payload.subarray(0, records.payload.length - 8) };
}
function cutListing(lsn: number): OpRecords {
  const records = listing(lsn, "whole");
  new OpView(records.payload.buffer as ArrayBuffer).size -= 16;
  return { ...records, payload: records.payload.subarray(0, records.payload.length - 16) };
}
function emptyNode(lsn: number): OpRecords {
  return single(lsn, OpKind.mirrorNode, () => {});
}

test("what must not be taken ends the connection with the reason", async (t) => {
  const bench = await Bench.make(t);
  const expected: Uint8Array[] = [];
  let lsn = 1;
  for (const [what, why, make] of BAD) {
    // What came before it on the same connection is kept.
    const good = pair(lsn);
    const { why: found } = await bench.send(Buffer.concat([frame(good), make(lsn + 2)]));
    assert.match(found, why, what);
    await bench.untilDurable(lsn + 1);
    expected.push(good.payload);
    lsn += 2;
  }
  assert.ok((await bench.content()).equals(Buffer.concat(expected)), "nothing of it is in the log");
});

test("where changes were missed is known at once, and before the ops behind it", async (t) => {
  const { gap, on } = RecordingState;
  for (const { states, expected } of [
    { states: [{ recording: gap, gaps: 1, lsn: 7 }], expected: [7] },
    // Recorded again: where the gap was is not known.
    { states: [{ recording: on, gaps: 1, lsn: 9 }], expected: [0] },
    { states: [{ recording: gap, gaps: 2, lsn: 9 }], expected: [0] },
    {
      states: [
        { recording: gap, gaps: 1, lsn: 7 },
        { recording: on, gaps: 1, lsn: 7 },
        { recording: gap, gaps: 2, lsn: 9 },
      ],
      expected: [7, 9],
    },
  ]) {
    const bench = await Bench.make(t);
    const { connection, welcome } = bench.target.open();
    assert.ok(await welcome);
    const far = bench.attach(connection);
    far.write(stateFrame({ lsn: 3 }));
    await pumped(bench);
    assert.deepEqual([bench.gaps, bench.target.isGapAhead], [[], false]);
    for (const state of states) far.write(stateFrame(state));
    await pumped(bench);
    assert.deepEqual(bench.gaps, expected, JSON.stringify(states));
    assert.deepEqual(bench.heard, [0, ...states.map(({ gaps }) => gaps)]);
    assert.deepEqual(bench.target.sourceSaid?.gaps, states.at(-1)?.gaps);
    assert.equal(bench.ring.word(HeaderAt.gaps), 0, "not reached yet: nothing is applied");
    assert.equal(bench.target.isGapAhead, true);
    bench.ring.setWord(HeaderAt.gaps, states.at(-1)?.gaps ?? 0);
    assert.equal(bench.target.isGapAhead, false);
  }
});
