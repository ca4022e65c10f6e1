/** The edges of TLS that need no fleet: silence, a busy port, an abort. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";

import { createAuthority } from "../trust/authority.ts";
import { connectTls, TlsListener, type TlsListenOptions } from "./tls.ts";

async function optionsFor(handshakeMs: number): Promise<TlsListenOptions> {
  const { certificate, key } = await createAuthority("test", Date.now());
  const credentials = { certificate, key, authority: certificate };
  return { address: "127.0.0.1", port: 0, credentials, onConnection: () => {}, handshakeMs };
}

test("who says nothing is cut when the handshake's time is over", async (t) => {
  const failures: string[] = [];
  const listener = await TlsListener.listen({
    ...(await optionsFor(100)),
    onFailure: (_, code) => failures.push(code),
  });
  t.after(() => listener.close());
  const silent = connect(listener.port, "127.0.0.1");
  await once(silent, "close");
  assert.deepEqual(failures, ["ERR_TLS_HANDSHAKE_TIMEOUT"]);
});

test("a port that is taken, and an address that is not ours, are clear errors", async (t) => {
  const options = await optionsFor(1000);
  const listener = await TlsListener.listen(options);
  t.after(() => listener.close());
  await assert.rejects(TlsListener.listen({ ...options, port: listener.port }), {
    code: "LISTEN_FAILED",
    hint: /ss -ltnp/,
  });
  await assert.rejects(TlsListener.listen({ ...options, address: "192.0.2.1" }), {
    code: "LISTEN_FAILED",
    hint: /address of this machine/,
  });
});

test("a connection comes from the address that is asked for", async (t) => {
  const accepted = Promise.withResolvers<string | undefined>();
  const listener = await TlsListener.listen({
    ...(await optionsFor(1000)),
    onConnection: ({ socket }) => accepted.resolve(socket.remoteAddress),
  });
  t.after(() => listener.close());
  const to = { host: "127.0.0.1", port: listener.port };
  const { socket } = await connectTls({ ...to, localAddress: "127.0.0.2" });
  assert.equal(socket.localAddress, "127.0.0.2");
  assert.equal(await accepted.promise, "127.0.0.2");
  await assert.rejects(connectTls({ ...to, localAddress: "192.0.2.201" }), {
    code: "NO_LOCAL_ADDRESS",
    message: "this server has no address 192.0.2.201",
    hint: /It has 127\.0\.0\.1, .*Choose one/,
  });
  await assert.rejects(connectTls({ ...to, localAddress: "::1" }), {
    code: "NO_LOCAL_ADDRESS",
    hint: /same family/,
  });
});

test("connecting ends with the time, a signal, or nobody there", async (t) => {
  const listener = await TlsListener.listen(await optionsFor(1000));
  const { port } = listener;
  const gone = { host: "127.0.0.1", port, signal: AbortSignal.abort() };
  await assert.rejects(connectTls(gone), { code: "ABORTED" });
  await listener.close();
  await assert.rejects(connectTls({ host: "127.0.0.1", port }), { code: "PEER_UNREACHABLE" });

  const deaf = (await import("node:net")).createServer(() => {}).listen(0, "127.0.0.1");
  t.after(() => deaf.close());
  await once(deaf, "listening");
  const { port: deafPort } = deaf.address() as { port: number };
  await assert.rejects(connectTls({ host: "127.0.0.1", port: deafPort, timeoutMs: 50 }), {
    code: "PEER_UNREACHABLE",
    message: /no answer in time/,
  });
});
