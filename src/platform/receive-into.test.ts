import assert from "node:assert/strict";
import { once } from "node:events";
import { PassThrough } from "node:stream";
import { test } from "node:test";

import { tlsConnection } from "../../test/support/tls-connection.ts";
import { receiveInto } from "./receive-into.ts";

for (const [index, which] of ["accepted", "opened"].entries()) {
  test(`a socket that was ${which} fills the memory that it is given`, async (t) => {
    const ends = await tlsConnection(t);
    const [near, far] = index === 0 ? ends : [ends[1], ends[0]];
    const sent = crypto.getRandomValues(new Uint8Array(60_000));
    const memory = new Uint8Array(sent.length);
    const arrived = Promise.withResolvers<void>();
    let [at, calls] = [0, 0];
    const isTaken = receiveInto(near, {
      room: () => memory.subarray(at, Math.min(at + 7000, memory.length)),
      onFilled: (count) => {
        at += count;
        calls += 1;
        assert.ok(count > 0 && count <= 7000);
        if (calls === 3) near.pause();
        if (at === memory.length) arrived.resolve();
      },
    });
    assert.ok(isTaken, "this Node has the fields");
    near.on("data", () => arrived.reject(new Error("it came as data")));
    near.resume();
    far.write(sent);
    while (!near.isPaused()) await new Promise((resolve) => setImmediate(resolve));
    near.resume();
    await arrived.promise;
    assert.deepEqual(memory, sent);
    const ended = once(near, "end");
    far.end();
    await ended;
  });
}

test("a stream that is no socket is left as it is", () => {
  const stream = new PassThrough();
  assert.equal(receiveInto(stream, { room: () => new Uint8Array(1), onFilled: () => {} }), false);
});
