import assert from "node:assert/strict";
import { test } from "node:test";

import { connectTls, TlsListener, type TLSSocket } from "../platform/tls.ts";
import { FrameParser, FrameType } from "../protocol/frame.ts";
import { createAuthority } from "../trust/authority.ts";
import { FRAME_CHECKSUMS, FrameChannel, writeFrame } from "./stream-connection.ts";

test("bytes that are no frame end a TLS connection, however many come behind them", async (t) => {
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
  const { socket: far } = await connectTls({ host: "127.0.0.1", port: listener.port, credentials });
  t.after(() => far.destroy());
  const farClosed = Promise.withResolvers<void>();
  far.once("close", () => farClosed.resolve());
  const near = await accepted.promise;
  const heard = Promise.withResolvers<FrameType>();
  const closed = Promise.withResolvers<string>();
  const parser = new FrameParser(FRAME_CHECKSUMS);
  new FrameChannel(
    { socket: near, parser, early: [] },
    {
      onFrame: ({ type }) => heard.resolve(type),
      onDrain: () => {},
      onClose: (reason) => closed.resolve(reason),
    },
  );
  writeFrame(far, { type: FrameType.heartbeat, payload: new Uint8Array(0) });
  assert.equal(await heard.promise, FrameType.heartbeat);
  far.write(new Uint8Array(200_000).fill(7));
  assert.equal(await closed.promise, "this is no frame of ours");
  if (!far.closed) await farClosed.promise;
});
