import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";

import { connectTls, TlsListener, type TLSSocket } from "../platform/tls.ts";
import { FrameParser, framePieces, FrameType } from "../protocol/frame.ts";
import { createAuthority } from "../trust/authority.ts";
import { FRAME_CHECKSUMS, FrameChannel, writeFrame } from "./stream-connection.ts";

/** Both ends of a TLS connection: that which was accepted, and that which was opened. */
async function connection(t: TestContext): Promise<[TLSSocket, TLSSocket]> {
  const { certificate, key } = await createAuthority("test", Date.now());
  const credentials = { certificate, key, authority: certificate };
  const accepted = Promise.withResolvers<TLSSocket>();
  const listener = await TlsListener.listen({
    address: "127.0.0.1",
    port: 0,
    credentials,
    onConnection: ({ socket }) => accepted.resolve(socket),
  });
  t.after(() => listener.close());
  const { socket } = await connectTls({ host: "127.0.0.1", port: listener.port, credentials });
  t.after(() => socket.destroy());
  return [await accepted.promise, socket];
}

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
    const [near, far] = await connection(t);
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
  const [near, far] = await connection(t);
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
