/** A TLS connection on loopback, between two ends of one authority. */
import type { TestContext } from "node:test";

import { connectTls, TlsListener, type TLSSocket } from "../../src/platform/tls.ts";
import { createAuthority } from "../../src/trust/authority.ts";

/** The end that was accepted, and the one that was opened; closed when the test ends. */
export async function tlsConnection(t: TestContext): Promise<[TLSSocket, TLSSocket]> {
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
