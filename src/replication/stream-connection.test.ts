import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import { type Frame, FRAME_ZSTD, FrameParser, FrameType } from "../protocol/frame.ts";
import { FrameChannel, FRAME_CHECKSUMS, decompress, isCompressed } from "./stream-connection.ts";

const newParser = (): FrameParser => new FrameParser(FRAME_CHECKSUMS);

function channelOn(socket: PassThrough, onFrame: (frame: Frame) => void = () => {}) {
  const closed: string[] = [];
  const channel = new FrameChannel(
    { socket, parser: newParser(), early: [] },
    { onFrame, onDrain: () => {}, onClose: (reason) => closed.push(reason) },
  );
  return { channel, closed };
}

test("ops come out as they went in, compressed where that is worth it", async () => {
  const frames: Frame[] = [];
  // What is written comes back: one socket is both ends.
  const { channel } = channelOn(new PassThrough(), (frame) => frames.push(frame));
  const even = Buffer.alloc(10_000, "even");
  const random = crypto.getRandomValues(new Uint8Array(10_000));
  channel.sendOps({ firstLsn: 1, lastLsn: 2, payload: even }, true);
  channel.sendOps({ firstLsn: 3, lastLsn: 4, payload: random }, true);
  channel.sendOps({ firstLsn: 5, lastLsn: 6, payload: even }, false);
  await turn();
  await turn();
  assert.deepEqual(
    frames.map(({ flags, a, b }) => [flags, a, b]),
    [
      [FRAME_ZSTD, 1, 2],
      [0, 3, 4],
      [0, 5, 6],
    ],
  );
  assert.deepEqual(
    frames.map((one) => (isCompressed(one) ? decompress(one) : one.payload)).map(Buffer.from),
    [even, Buffer.from(random), even],
  );
  assert.ok((frames[0]?.length ?? 0) < 1000);
});

test("a frame that decompresses to something else is refused", () => {
  const payload = Buffer.from("no zstd");
  const header = { type: FrameType.ops, flags: FRAME_ZSTD, length: 7, rawLength: 9, a: 1, b: 1 };
  const frame = { ...header, payload, payloadChecksum: 0 };
  assert.throws(() => decompress(frame), /cannot be decompressed/);
});

test("bytes that are no frame, and a handler that throws, end the connection once", async () => {
  const garbage = new PassThrough();
  const first = channelOn(garbage);
  await turn();
  garbage.write("GET / HTTP/1.1\r\nHost: standin\r\n\r\n");
  await turn();
  await turn();
  assert.deepEqual(first.closed, ["this is no frame of ours"]);
  const second = channelOn(new PassThrough(), () => {
    throw new Error("not wanted");
  });
  second.channel.sendJson(FrameType.control, {});
  await turn();
  await turn();
  assert.deepEqual(second.closed, ["not wanted"]);
  assert.equal(second.channel.isClosed, true);
});
