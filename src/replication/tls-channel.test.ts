import assert from "node:assert/strict";
import { test } from "node:test";

import { tlsConnection } from "../../test/support/tls-connection.ts";
import { FrameParser, framePieces, FrameType } from "../protocol/frame.ts";
import { FRAME_CHECKSUMS, FrameChannel, writeFrame } from "./stream-connection.ts";

const NOTHING = new Uint8Array(0);
const BEHIND: Uint8Array = new Uint8Array(200_000).fill(7);

function damagedFrame(): Uint8Array {
  const payload = new Uint8Array(1000);
  const bytes = Buffer.concat(framePieces({ type: FrameType.ops, payload }, FRAME_CHECKSUMS));
  bytes[500] = 1;
  return Buffer.concat([bytes, BEHIND]);
}

for (const { what, bytes, reason } of [
  { what: "that are no frame", bytes: BEHIND, reason: "this is no frame of ours" },
  { what: "of a damaged frame", bytes: damagedFrame(), reason: "a frame was damaged on its way" },
]) {
  test(`bytes ${what} end a TLS connection, however many come behind them`, async (t) => {
    const [near, far] = await tlsConnection(t);
    const farClosed = Promise.withResolvers<void>();
    far.once("close", () => farClosed.resolve());
    const heard = Promise.withResolvers<FrameType>();
    const closed = Promise.withResolvers<string>();
    const parser = new FrameParser(FRAME_CHECKSUMS);
    new FrameChannel(
      { socket: near, parser, early: [] },
      {
        onFrame: ({ type }) => heard.resolve(type),
        onDrain: () => {},
        onClose: (why) => closed.resolve(why),
      },
    );
    writeFrame(far, { type: FrameType.heartbeat, payload: NOTHING });
    assert.equal(await heard.promise, FrameType.heartbeat);
    far.write(bytes);
    assert.equal(await closed.promise, reason);
    if (!far.closed) await farClosed.promise;
  });
}

test("a channel that is paused by its first frame reads no more until it goes on", async (t) => {
  const [near, far] = await tlsConnection(t);
  const heard: number[] = [];
  const resumed = Promise.withResolvers<void>();
  const parser = new FrameParser(FRAME_CHECKSUMS);
  const first = [...parser.push(numbered(1))];
  const channel: FrameChannel = new FrameChannel(
    { socket: near, parser, early: first },
    {
      onFrame: ({ a }) => {
        heard.push(a);
        if (a === 1) channel.pause();
        else resumed.resolve();
      },
      onDrain: () => {},
      onClose: () => {},
    },
  );
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(heard, [1]);
  assert.ok(near.isPaused());
  far.write(numbered(2));
  channel.resume();
  await resumed.promise;
  assert.deepEqual(heard, [1, 2]);
});

function numbered(a: number): Uint8Array {
  const frame = { type: FrameType.heartbeat, payload: NOTHING, a };
  return Buffer.concat(framePieces(frame, FRAME_CHECKSUMS));
}
