/** Connections between agents over real TLS: who is let in, what is said, what is cut. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls, type TLSSocket } from "node:tls";

import { TestFleet } from "../../test/support/test-fleet.ts";
import { StandinError } from "../base/errors.ts";
import { FRAME_PAYLOAD_BYTES_MAX, FrameType } from "../protocol/frame.ts";
import { writeFrame } from "../replication/stream-connection.ts";
import { newParser, type PeerConnection, writeJson } from "./peer-connection.ts";
import { PeerRefusedError } from "./peer-network.ts";

const DAY_MS = 86_400_000;

/** Opens TLS to an agent of the fleet with another's certificate, and leaves out our protocol. */
async function rawTls(
  t: TestContext,
  fleet: TestFleet,
  to: string,
  credentialsOf: string,
): Promise<TLSSocket> {
  const { certificate, key } = fleet.agent(credentialsOf).store.identity.credentials;
  const { port } = fleet.agent(to).network;
  const options = { host: "127.0.0.1", port, cert: certificate, key, rejectUnauthorized: false };
  const socket = connectTls(options);
  t.after(() => socket.destroy());
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  return socket;
}

async function allOf(socket: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks);
}

test("a connection says what it is for, and carries the largest frame", async (t) => {
  const fleet = await TestFleet.start(t, "a", "b");
  const accepted = Promise.withResolvers<PeerConnection>();
  fleet.agent("b").network.handle("stream", (connection) => {
    accepted.resolve(connection);
    return { from: 7 };
  });
  const opened = await fleet.agent("a").network.connect("b", "stream", { job: "mail" });
  assert.equal(opened.peer.name, "b");
  assert.equal(opened.version, 1);
  assert.deepEqual(opened.welcome, { from: 7 });
  const connection = await accepted.promise;
  assert.equal(connection.peer.id, fleet.agent("a").store.identity.id);
  assert.deepEqual(connection.parameters, { job: "mail" });

  const payload = Buffer.alloc(FRAME_PAYLOAD_BYTES_MAX, 3);
  writeFrame(opened.socket, { type: FrameType.ops, payload, a: 1, b: 2 });
  opened.socket.end();
  const frames = [...connection.early];
  for await (const chunk of connection.socket) frames.push(...connection.parser.push(chunk));
  assert.deepEqual(
    frames.map(({ type, a, b, length }) => [type, a, b, length]),
    [[FrameType.ops, 1, 2, FRAME_PAYLOAD_BYTES_MAX]],
  );
});

test("what comes in one piece with the welcome is not lost, with listeners too", async (t) => {
  const fleet = await TestFleet.start(t, "a", "b");
  fleet.agent("b").network.handle("stream", ({ opened, socket }) => {
    void opened.then(() => {
      for (let at = 1; at <= 100; at++) {
        writeFrame(socket, { type: FrameType.ops, payload: Buffer.alloc(1000), a: at });
      }
      socket.end();
    });
  });
  const opened = await fleet.agent("a").network.connect("b", "stream", {});
  const seen = opened.early.map(({ a }) => a);
  opened.socket.on("data", (chunk) => {
    for (const { a } of opened.parser.push(chunk)) seen.push(a);
  });
  await once(opened.socket, "close");
  assert.deepEqual(
    seen,
    Array.from({ length: 100 }, (_, at) => at + 1),
  );
});

test("a refusal keeps the peer's code and hint; an unknown purpose is one", async (t) => {
  const fleet = await TestFleet.start(t, "a", "b");
  fleet.agent("b").network.handle("stream", () => {
    throw new StandinError("NO_JOB", "there is no job mail", { hint: "Make it first." });
  });
  const { network } = fleet.agent("a");
  await assert.rejects(network.connect("b", "stream", {}), (error: PeerRefusedError) => {
    assert.ok(error instanceof PeerRefusedError);
    const { code, peerCode, hint, message } = error;
    assert.deepEqual([code, peerCode, hint], ["PEER_REFUSED", "NO_JOB", "Make it first."]);
    assert.equal(message, "b refused: there is no job mail");
    return true;
  });
  await assert.rejects(network.connect("b", "other", {}), { peerCode: "UNKNOWN_PURPOSE" });
  await assert.rejects(network.connect("b", "join", {}), { peerCode: "UNKNOWN_PURPOSE" });
  await assert.rejects(network.connect("c", "stream", {}), { code: "UNKNOWN_AGENT" });
});

test("a version that the other does not speak is refused, and both are named", async (t) => {
  const fleet = await TestFleet.start(t, "a", "b");
  const socket = await rawTls(t, fleet, "b", "a");
  const hello = { product: "standin", versions: [7, 8], program: "9.9.9", purpose: "stream" };
  writeJson(socket, FrameType.hello, hello);
  const [frame] = [...newParser().push(await allOf(socket))];
  assert.equal(frame?.type, FrameType.refuse);
  const answer = Buffer.from(frame.payload).toString();
  assert.match(
    answer,
    /VERSION_MISMATCH.*protocol 1 \(Standin .*you speak 7, 8 \(Standin 9\.9\.9\)/,
  );
});

test("a removed agent, an expired and a foreign certificate are refused, both ways", async (t) => {
  const fleet = await TestFleet.start(t, "a", "b", "removed");
  await fleet.add("late", { issuedMs: Date.now() - 91 * DAY_MS });
  const strangers = await TestFleet.start(t, "x");
  const a = fleet.agent("a");
  a.store.removeMember(fleet.agent("removed").store.identity.id, Date.now());
  for (const [agent, code] of [
    ["removed", "CERTIFICATE_REVOKED"],
    ["late", "CERTIFICATE_EXPIRED"],
  ] as const) {
    const { network } = fleet.agent(agent);
    await assert.rejects(network.connect("a", "control", {}), { peerCode: code }, agent);
  }
  await assert.rejects(a.network.connect("removed", "control", {}), { code: "AGENT_REMOVED" });
  await assert.rejects(a.network.connect("late", "control", {}), { code: "CERTIFICATE_EXPIRED" });

  const x = strangers.agent("x");
  x.store.mergeMembers(a.store.members());
  a.store.mergeMembers(x.store.members());
  await assert.rejects(x.network.connect("a", "control", {}), { code: "CERTIFICATE_FOREIGN" });
  await assert.rejects(a.network.connect("x", "control", {}), { code: "CERTIFICATE_FOREIGN" });
  const raw = await rawTls(t, { agent: (n: string) => (n === "x" ? x : a) } as TestFleet, "a", "x");
  writeJson(raw, FrameType.hello, { product: "standin", versions: [1], purpose: "control" });
  assert.match(String(await allOf(raw)), /CERTIFICATE_FOREIGN/);
});

test("clocks may be an hour apart, and what is too far ahead is told", async (t) => {
  const fleet = await TestFleet.start(t, "a");
  const HOUR_MS = DAY_MS / 24;
  for (const hours of [-1, 1]) {
    const name = `of${hours}`;
    const { network } = await fleet.add(name, { issuedMs: Date.now() + hours * HOUR_MS });
    fleet.agent("a").network.onRequest("echo", (body) => ({ body }));
    assert.deepEqual(await network.request("a", "echo", { hours }, 5000), { body: { hours } });
  }
  const { network } = await fleet.add("far", { issuedMs: Date.now() + 3 * HOUR_MS });
  await assert.rejects(network.connect("a", "control", {}), {
    peerCode: "CERTIFICATE_NOT_YET_VALID",
    message: /not valid yet/,
    hint: /clock/,
  });
});

test("a member that is not known yet is refused until the list has come", async (t) => {
  const fleet = await TestFleet.start(t, "a", "b");
  const other = await TestFleet.start(t, "c");
  const { authority } = fleet.agent("a").store.identity;
  assert.ok(authority !== undefined);
  assert.notEqual(other.agent("c").store.identity.authority?.certificate, authority.certificate);
  const alone = await fleet.add("d");
  const b = fleet.agent("b");
  const unknown = new Map(b.store.members().map((member) => [member.id, member]));
  unknown.delete(alone.store.identity.id);
  b.store.memberById = (id) => unknown.get(id);
  await assert.rejects(alone.network.connect("b", "control", {}), {
    peerCode: "CERTIFICATE_UNKNOWN",
  });
});

test("plain TCP and TLS 1.2 get nothing", async (t) => {
  const fleet = await TestFleet.start(t, "a");
  const { port } = fleet.agent("a").network;
  const plain = connectTcp(port, "127.0.0.1");
  plain.on("error", () => {});
  plain.write("GET / HTTP/1.1\r\n\r\n");
  const answer = await allOf(plain);
  assert.ok(answer.length <= 7, `at most an alert of TLS: ${answer}`);

  const { certificate, key } = fleet.agent("a").store.identity.credentials;
  const old = { maxVersion: "TLSv1.2", rejectUnauthorized: false, cert: certificate, key } as const;
  const socket = connectTls({ port, host: "127.0.0.1", ...old });
  const [error] = await once(socket, "error");
  assert.match(String((error as NodeJS.ErrnoException).code), /PROTOCOL_VERSION|ECONNRESET/);
  assert.ok(fleet.agent("a").reports.length >= 2);
});

test("a session cannot be resumed, so that each connection proves its certificate", async (t) => {
  const fleet = await TestFleet.start(t, "a", "b");
  const { certificate, key } = fleet.agent("a").store.identity.credentials;
  const { port } = fleet.agent("b").network;
  const options = { port, host: "127.0.0.1", cert: certificate, key, rejectUnauthorized: false };
  const first = connectTls(options);
  const [session] = await once(first, "session");
  first.destroy();
  const second = connectTls({ ...options, session });
  await once(second, "secureConnect");
  assert.equal(second.isSessionReused(), false);
  second.destroy();
});

test("garbage frames end the connection without an answer, early and late", async (t) => {
  const fleet = await TestFleet.start(t, "a", "b");
  const raw = await rawTls(t, fleet, "b", "a");
  raw.write(Buffer.alloc(5000, 0xa5));
  assert.equal((await allOf(raw)).length, 0);

  const control = await fleet.agent("a").network.connect("b", "control", {});
  control.socket.write(Buffer.alloc(5000, 0xa5));
  control.socket.resume();
  await once(control.socket, "close");
  fleet.agent("b").network.onRequest("echo", (body) => ({ body }));
  const echo = await fleet.agent("a").network.request("b", "echo", { n: 1 }, 5000);
  assert.deepEqual(echo, { body: { n: 1 } });
});

test("requests use one connection in both directions, and it is opened again", async (t) => {
  const fleet = await TestFleet.start(t, "a", "b");
  const [a, b] = [fleet.agent("a"), fleet.agent("b")];
  let opened = 0;
  const connect = a.network.connect.bind(a.network);
  a.network.connect = (...given) => {
    opened += 1;
    return connect(...given);
  };
  b.network.connect = () => assert.fail("b has a's connection");
  for (const { network, name } of [a, b]) {
    network.onRequest("who", (body, peer) => ({ ...body, me: name, you: peer.name }));
  }
  const many = Array.from({ length: 50 }, (_, n) => a.network.request("b", "who", { n }, 5000));
  assert.deepEqual((await Promise.all(many))[49], { n: 49, me: "b", you: "a" });
  assert.deepEqual(await b.network.request("a", "who", {}, 5000), { me: "a", you: "b" });
  assert.equal(opened, 1);

  a.network.drop(b.store.identity.id);
  await sleep(50);
  assert.deepEqual(await a.network.request("b", "who", {}, 5000), { me: "b", you: "a" });
  assert.equal(opened, 2);
});

test("a request ends with the handler's error, with its time, or with the line", async (t) => {
  const fleet = await TestFleet.start(t, "a", "b");
  const { network } = fleet.agent("a");
  const { network: peer } = fleet.agent("b");
  peer.onRequest("fail", () => {
    throw new StandinError("FULL", "the disk is full", { hint: "Delete something." });
  });
  peer.onRequest("break", () => {
    throw new TypeError("oops");
  });
  peer.onRequest("hang", () => new Promise(() => {}));
  peer.onRequest("large", () => ({ text: "x".repeat(2 << 20) }));
  const ask = (command: string, timeoutMs = 5000) => network.request("b", command, {}, timeoutMs);
  await assert.rejects(ask("fail"), { code: "FULL", hint: "Delete something." });
  await assert.rejects(ask("break"), { code: "INTERNAL" });
  await assert.rejects(ask("nothing"), { code: "UNKNOWN_COMMAND" });
  await assert.rejects(ask("large"), { code: "REQUEST_TOO_LARGE" });
  await assert.rejects(ask("hang", 50), { code: "REQUEST_TIMEOUT" });
  const hanging = assert.rejects(ask("hang"), { code: "PEER_HUNG_UP" });
  await sleep(20);
  await peer.close();
  await hanging;
  await assert.rejects(ask("fail"), { code: "PEER_UNREACHABLE" });
});

test("connecting is given up on a signal, and goes out from a chosen address", async (t) => {
  const fleet = await TestFleet.start(t, "a", "b");
  const never = new Promise<void>(() => {});
  fleet.agent("b").network.handle("stream", () => never);
  const given = new AbortController();
  const { network } = fleet.agent("a");
  const connecting = network.connect("b", "stream", {}, { signal: given.signal });
  const settled = assert.rejects(connecting, { code: "ABORTED" });
  await sleep(50);
  given.abort();
  await settled;

  let remote: string | undefined;
  fleet.agent("b").network.handle("other", ({ socket }) => {
    remote = (socket as TLSSocket).remoteAddress;
  });
  const { socket } = await network.connect("b", "other", {}, { localAddress: "127.0.0.9" });
  socket.destroy();
  assert.equal(remote, "127.0.0.9");
});
