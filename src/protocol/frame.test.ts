import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import {
  type Frame,
  FRAME_HEADER_BYTES,
  FrameError,
  framePieces,
  FrameParser,
  FrameType,
  PayloadPool,
  jsonPayload,
  parseJsonPayload,
} from "./frame.ts";

const checksums = { ofPayload: (payload: Uint8Array) => crc32(payload), ofHeader: crc32 };

function sent(type: FrameType, payload: Uint8Array, a = 0, b = 0): Uint8Array {
  return Buffer.concat(framePieces({ type, payload, a, b }, checksums));
}

function parsed(chunks: Uint8Array[]): Frame[] {
  const parser = new FrameParser(checksums);
  return chunks.flatMap((chunk) => [...parser.push(chunk)]);
}

test("frames come out whole wherever the stream is cut", () => {
  const stream = Buffer.concat([
    sent(FrameType.ops, Buffer.from("some ops"), 7, 2 ** 40),
    sent(FrameType.heartbeat, new Uint8Array(0)),
    sent(FrameType.control, jsonPayload({ command: "x" })),
  ]);
  for (let cut = 0; cut <= stream.length; cut++) {
    const frames = parsed([stream.subarray(0, cut), stream.subarray(cut)]);
    assert.deepEqual(
      frames.map(({ type }) => type),
      [FrameType.ops, FrameType.heartbeat, FrameType.control],
    );
    assert.equal(frames[0]?.a, 7);
    assert.equal(frames[0]?.b, 2 ** 40);
    assert.equal(Buffer.from(frames[0]?.payload ?? []).toString(), "some ops");
  }
});

test("a stream that is cut yields no more than what was whole", () => {
  const stream = sent(FrameType.ops, Buffer.from("0123456789"));
  for (let cut = 0; cut < stream.length; cut++) {
    const parser = new FrameParser(checksums);
    assert.deepEqual([...parser.push(stream.subarray(0, cut))], []);
  }
});

test("a payload with room before it goes in one piece, and its memory is used again", () => {
  const pool = new PayloadPool(1 << 20);
  const payload = pool.take(100_000).fill(7);
  const pieces = framePieces({ type: FrameType.ops, payload, hasHeadroom: true }, checksums);
  assert.equal(pieces.length, 1);
  const [frame] = parsed(pieces);
  assert.deepEqual(Buffer.from(frame?.payload ?? []), Buffer.from(payload));
  assert.equal(frame?.payloadChecksum, crc32(payload));
  pool.giveBack(payload);
  assert.notEqual(pool.take(50_000).buffer, payload.buffer, "a smaller one has a smaller piece");
  assert.equal(pool.take(120_000).buffer, payload.buffer);
  assert.notEqual(pool.take(120_000).buffer, payload.buffer, "it is handed out once");
});

test("a pool takes back only what it gave, and keeps no more than it may", () => {
  const pool = new PayloadPool(1 << 20);
  const foreign = new Uint8Array(1 << 17);
  pool.giveBack(foreign);
  assert.notEqual(pool.take(100_000).buffer, foreign.buffer);
  const [first, second] = [pool.take(600_000), pool.take(600_000)];
  pool.giveBack(first);
  pool.giveBack(second);
  assert.equal(pool.take(600_000).buffer, first.buffer);
  assert.notEqual(pool.take(600_000).buffer, second.buffer);
  assert.equal(pool.take(5 << 20).length, 5 << 20, "larger ones are made, and not kept");
  for (const length of [0, 1, 100, 2000, 2100, 5000, 1 << 20]) {
    const { byteLength } = pool.take(length).buffer;
    assert.ok(byteLength <= 2 * (length + FRAME_HEADER_BYTES), `${length} take ${byteLength}`);
  }
});

test("a pool gives up what was not needed for a while", () => {
  const pool = new PayloadPool(1 << 20);
  const pieces = [0, 1, 2].map(() => pool.take(100_000));
  for (const piece of pieces) pool.giveBack(piece);
  pool.shrink(); // all were needed
  const [first, second] = [pool.take(100_000), pool.take(100_000)];
  pool.giveBack(first);
  pool.giveBack(second);
  pool.shrink();
  const known = new Set(pieces.map(({ buffer }) => buffer));
  const isKept = () => known.has(pool.take(100_000).buffer);
  assert.deepEqual([isKept(), isKept(), isKept()], [true, true, false]);
});

test("ops are received into memory that is used again, other frames are not", () => {
  const parser = new FrameParser(checksums);
  parser.pool = new PayloadPool(1 << 20);
  const parse = (type: FrameType, text: string): Uint8Array => {
    const payload = Buffer.alloc(3000, text);
    const [frame] = [...parser.push(sent(type, payload))];
    assert.ok(payload.equals(frame?.payload ?? new Uint8Array(0)));
    return frame?.payload as Uint8Array;
  };
  const ops = parse(FrameType.ops, "first");
  parser.pool.giveBack(ops);
  assert.notEqual(parse(FrameType.asks, "{}").buffer, ops.buffer);
  assert.equal(parse(FrameType.ops, "the second").buffer, ops.buffer);
});

test("bytes may be put where they belong, and need not come in chunks", () => {
  const stream = Buffer.concat([
    sent(FrameType.heartbeat, new Uint8Array(0)),
    sent(FrameType.ops, Buffer.from("payload"), 1, 2),
  ]);
  const parser = new FrameParser(checksums);
  const frames: Frame[] = [];
  for (let at = 0; at < stream.length; ) {
    const part = stream.subarray(at, at + Math.min(5, parser.room.length));
    parser.room.set(part);
    const frame = parser.filled(part.length);
    if (frame !== undefined) frames.push(frame);
    at += part.length;
  }
  assert.deepEqual(
    frames.map(({ type, payload }) => [type, Buffer.from(payload).toString()]),
    [
      [FrameType.heartbeat, ""],
      [FrameType.ops, "payload"],
    ],
  );
  assert.equal(parser.room.length, FRAME_HEADER_BYTES);
});

test("large payloads have a page before them and two behind, where the pool has pages", () => {
  const pool = new PayloadPool(4 << 20, (bytes) => new Uint8Array(bytes + 16).subarray(16));
  const leastPaged = (256 << 10) - FRAME_HEADER_BYTES + 1;
  for (const length of [leastPaged, 256 << 10, (1 << 20) - 5, 1 << 20]) {
    const payload = pool.take(length);
    const pages = pool.pagesOf(payload);
    assert.equal(payload.length, length);
    assert.equal(pages?.byteOffset, 16, "as it was made");
    assert.equal(payload.byteOffset, 16 + 4096);
    assert.ok((pages?.length ?? 0) >= 4096 + length + 8192);
    pool.giveBack(payload);
    assert.equal(pool.take(length).buffer, payload.buffer);
  }
  assert.equal(pool.pagesOf(pool.take(leastPaged - 1)), undefined);
  assert.equal(pool.pagesOf(new Uint8Array(1 << 20)), undefined);
  const plain = new PayloadPool(4 << 20);
  assert.equal(plain.pagesOf(plain.take(1 << 20)), undefined);
});

test("each damaged bit is found", () => {
  const stream = sent(FrameType.ops, Buffer.from("payload"), 1, 2);
  for (let bit = 0; bit < stream.length * 8; bit++) {
    const damaged = Uint8Array.from(stream);
    damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
    let frames: Frame[] = [];
    try {
      frames = parsed([damaged]);
    } catch (error) {
      assert.ok(error instanceof FrameError);
    }
    // A longer length is waited for, and its checksum will be wrong.
    assert.deepEqual(frames, []);
  }
});

test("nothing is allocated for a frame over the limit", () => {
  const payload = new Uint8Array(0);
  const [header = payload] = framePieces({ type: FrameType.ops, payload }, checksums);
  new DataView(header.buffer).setUint32(0, 0xffff_ffff, true);
  assert.throws(() => parsed([header]), /over the limit/);
  new DataView(header.buffer).setUint32(0, 0, true);
  new DataView(header.buffer).setUint32(12, 0xffff_ffff, true);
  assert.throws(() => parsed([header]), /over the limit/);
  assert.equal(header.length, FRAME_HEADER_BYTES);
});

test("what is no JSON object is an error", () => {
  assert.deepEqual(parseJsonPayload(jsonPayload({ a: 1 })), { a: 1 });
  for (const text of ["", "[]", "null", "1", "{", "\xff"]) {
    assert.throws(() => parseJsonPayload(Buffer.from(text, "latin1")), FrameError);
  }
});
