import assert from "node:assert/strict";
import { test } from "node:test";

import { StandinError } from "../base/errors.ts";
import { makeTemporaryFolder, removeTree } from "../platform/files.ts";
import { connectTo } from "../platform/unix-socket.ts";
import { ControlClient } from "./control-client.ts";
import { type ControlHandler, ControlServer } from "./control-server.ts";

async function withServer(
  handler: ControlHandler,
  work: (socketPath: string) => Promise<void>,
): Promise<void> {
  const folder = makeTemporaryFolder("standin-control-");
  const server = await ControlServer.listen(`${folder}/control.sock`, handler);
  try {
    await work(`${folder}/control.sock`);
  } finally {
    await server.close();
    removeTree(folder);
  }
}

test("ControlClient gets results, progress and errors of its own requests", async () => {
  const handler: ControlHandler = async (request, progress) => {
    if (request.command === "flush") {
      throw new StandinError("FLUSH_TIMEOUT", "too late", { hint: "wait longer" });
    }
    progress({ percent: 50 });
    return { done: request.command };
  };
  await withServer(handler, async (path) => {
    const client = await ControlClient.connect(path);
    const seen: unknown[] = [];
    const verify = client.request({ command: "verify", repair: false }, (p) => seen.push(p));
    const flush = client.request({ command: "flush", timeoutMs: 5 });
    await assert.rejects(flush, { code: "FLUSH_TIMEOUT", hint: "wait longer" });
    assert.deepEqual(await verify, { done: "verify" });
    assert.deepEqual(seen, [{ percent: 50 }]);
    client.close();
  });
});

test("ControlServer answers a malformed request with an error, and goes on", async () => {
  await withServer(
    async () => ({ ok: true }),
    async (path) => {
      const client = await ControlClient.connect(path);
      const wrong = { command: "format", disk: "/dev/sda" } as unknown as { command: "status" };
      await assert.rejects(client.request(wrong), { code: "BAD_REQUEST" });
      const late = client.request({ command: "flush", timeoutMs: 1e12 });
      await assert.rejects(late, { code: "BAD_REQUEST" });
      assert.deepEqual(await client.request({ command: "status" }), { ok: true });
      client.close();
    },
  );
});

test("ControlServer hangs up on what is no JSON", async () => {
  await withServer(
    async () => ({}),
    async (path) => {
      const socket = await connectTo(path);
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.resume();
      socket.write("GET / HTTP/1.1\r\n\r\n");
      await closed;
    },
  );
});

test("ControlServer gives up what was asked by a client that is gone", async () => {
  let gaveUp: () => void = () => {};
  const noticed = new Promise<void>((resolve) => {
    gaveUp = resolve;
  });
  const handler: ControlHandler = (_request, _progress, signal) =>
    new Promise(() => signal.addEventListener("abort", () => gaveUp()));
  await withServer(handler, async (path) => {
    const client = await ControlClient.connect(path);
    const request = client.request({ command: "verify", repair: false });
    client.close();
    await assert.rejects(request, { code: "AGENT_GONE" });
    await noticed;
  });
});

test("ControlClient says what to do when nobody listens", async () => {
  await assert.rejects(ControlClient.connect("/nonexistent.sock"), { code: "NOT_RUNNING" });
});
