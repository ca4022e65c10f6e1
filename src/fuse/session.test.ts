import assert from "node:assert/strict";
import { test } from "node:test";
import { body, encode, FakeKernel, type Message } from "../../test/support/fake-kernel.ts";
import { EAGAIN, EINTR, EINVAL, EIO, ENODEV, ENOENT, ENOSYS, EPERM } from "../platform/errno.ts";
import { BODY_BYTES_MIN, IN_HEADER_BYTES, Opcode } from "./abi.ts";
import { NO_REPLY, type Request } from "./message.ts";
import type { Handler } from "./session.ts";

const SILENT = new Set<number>([Opcode.forget, Opcode.batchForget, Opcode.interrupt]);
const OPCODES = Object.values(Opcode);

/** Answers everything with success, and remembers that it was asked. */
function everything(calls: number[]): Map<number, Handler> {
  const handler: Handler = (request) => {
    calls.push(request.opcode);
    return SILENT.has(request.opcode) ? NO_REPLY : 0;
  };
  return new Map(OPCODES.map((opcode) => [opcode, handler]));
}

test("Session ignores a message that is shorter than a header", () => {
  const calls: number[] = [];
  const kernel = new FakeKernel(everything(calls));
  const whole = encode({ opcode: Opcode.getattr, body: new Uint8Array(16) });
  for (let length = 1; length < IN_HEADER_BYTES; length++) {
    assert.equal(kernel.serve(whole.subarray(0, length)), 0);
  }
  assert.deepEqual([calls, kernel.answers], [[], []]);
  assert.equal(kernel.answer({ opcode: Opcode.getattr, body: new Uint8Array(16) }).error, 0);
});

test("Session hands no message on whose length field lies, and goes on", () => {
  const calls: number[] = [];
  const kernel = new FakeKernel(everything(calls));
  for (const says of [0, 1, 39, 40, 55, 57, 0x7fffffff, 0xffffffff]) {
    kernel.serve(encode({ opcode: Opcode.getattr, body: new Uint8Array(16), says }));
  }
  assert.deepEqual(calls, []);
  assert.equal(kernel.answer({ opcode: Opcode.getattr, body: new Uint8Array(16) }).error, 0);
});

test("Session answers EINVAL to each opcode that is cut below its minimum", () => {
  const calls: number[] = [];
  const kernel = new FakeKernel(everything(calls));
  for (const opcode of OPCODES) {
    const minimum = BODY_BYTES_MIN.get(opcode) ?? 0;
    for (let length = 0; length < minimum; length++) {
      const answer = kernel.ask({ opcode, body: new Uint8Array(length) });
      if (SILENT.has(opcode)) assert.equal(answer, undefined, `opcode ${opcode}, ${length}`);
      else assert.equal(answer?.error, -EINVAL, `opcode ${opcode}, ${length}`);
    }
    assert.deepEqual(calls, []);
    for (const length of [minimum, minimum + 1, minimum + 100]) {
      kernel.ask({ opcode, body: new Uint8Array(length) });
      assert.equal(calls.pop(), opcode, `opcode ${opcode}, ${length}`);
    }
  }
});

test("Session knows the smallest body of every opcode that has a structure", () => {
  const bare = OPCODES.filter((opcode) => !BODY_BYTES_MIN.has(opcode));
  // The ones that consist of a header alone.
  assert.deepEqual(bare, [Opcode.readlink, Opcode.statfs, Opcode.destroy]);
});

test("Session answers ENOSYS where it has no handler, and never to FORGET or INTERRUPT", () => {
  const kernel = new FakeKernel(new Map());
  for (const opcode of [0, 7, 19, 33, 37, 48, 49, 50, 53, 100, 4096, 0x7fffffff, 0xffffffff]) {
    const answer = kernel.answer({ opcode, unique: 77n, body: new Uint8Array(opcode & 63) });
    assert.deepEqual([answer.error, answer.unique], [-ENOSYS, 77n], `opcode ${opcode}`);
  }
  for (const opcode of SILENT) {
    for (let length = 0; length < 64; length++) {
      assert.equal(kernel.ask({ opcode, body: new Uint8Array(length) }), undefined);
    }
  }
});

test("Session answers EIO when a handler throws, says so, and goes on", () => {
  const failing: Handler = () => {
    throw new Error("a bug");
  };
  const kernel = new FakeKernel(
    new Map<number, Handler>([
      [Opcode.getattr, failing],
      [Opcode.forget, failing],
      [Opcode.statfs, () => 0],
    ]),
  );
  assert.equal(kernel.answer({ opcode: Opcode.getattr, body: new Uint8Array(16) }).error, -EIO);
  assert.equal(kernel.ask({ opcode: Opcode.forget, body: new Uint8Array(8) }), undefined);
  assert.equal(kernel.answer({ opcode: Opcode.statfs }).error, 0);
  assert.deepEqual(
    kernel.bugs.map(({ opcode }) => opcode),
    [Opcode.getattr, Opcode.forget],
  );
});

test("Session keeps the resend bit in the answer's unique and hides it from the handler", () => {
  const seen: [number, number, boolean][] = [];
  const handler: Handler = (request: Request) => {
    seen.push([request.uniqueHigh, request.uniqueLow, request.resent]);
    return 0;
  };
  const kernel = new FakeKernel(new Map([[Opcode.statfs, handler]]));
  const uniques = [2n, 0xffff_fffen, 0x1_0000_0002n, 0x7fff_ffff_ffff_fffen];
  for (const unique of uniques) {
    for (const sent of [unique, unique | (1n << 63n)]) {
      assert.equal(kernel.answer({ opcode: Opcode.statfs, unique: sent }).unique, sent);
    }
  }
  assert.deepEqual(seen[5], [1, 2, true]);
  assert.deepEqual(seen.at(-1), [0x7fffffff, 0xfffffffe, true]);
  assert.deepEqual(seen.at(-2), [0x7fffffff, 0xfffffffe, false]);
});

test("Session sends no body with an error, whatever the handler left in the reply", () => {
  const handler: Handler = (_request, reply) => {
    reply.length = 4000;
    return -EPERM;
  };
  const kernel = new FakeKernel(new Map([[Opcode.statfs, handler]]));
  const answer = kernel.answer({ opcode: Opcode.statfs });
  assert.deepEqual([answer.error, answer.body.length], [-EPERM, 0]);
});

test("Session starts each reply empty", () => {
  const lengths = [100, undefined];
  const handler: Handler = (_request, reply) => {
    const length = lengths.shift();
    if (length !== undefined) reply.length = length;
    return 0;
  };
  const kernel = new FakeKernel(new Map([[Opcode.statfs, handler]]));
  assert.equal(kernel.answer({ opcode: Opcode.statfs }).body.length, 100);
  assert.equal(kernel.answer({ opcode: Opcode.statfs }).body.length, 0);
});

test("Session goes on after an interrupted receive and ends when the connection does", () => {
  const kernel = new FakeKernel(new Map([[Opcode.statfs, () => 0]]));
  for (const again of [EINTR, EAGAIN, ENOENT]) {
    kernel.receives = -again;
    assert.equal(kernel.serve(new Uint8Array(0)), 0, `errno ${again}`);
  }
  for (const end of [ENODEV, EPERM]) {
    kernel.receives = -end;
    assert.equal(kernel.session.run(), end);
  }
  kernel.receives = 0;
  assert.equal(kernel.session.run(), ENODEV);
});

test("Session goes on when nobody waits for an answer any more", () => {
  const kernel = new FakeKernel(new Map([[Opcode.statfs, () => 0]]));
  const message: Message = { opcode: Opcode.statfs };
  for (const gone of [ENOENT, EINTR]) {
    kernel.sends = -gone;
    assert.equal(kernel.serve(encode(message)), 0);
  }
  kernel.sends = -ENODEV;
  assert.equal(kernel.serve(encode(message)), ENODEV);
});

test("Request finds the end of a name only inside its own message", () => {
  const ends: number[] = [];
  const handler: Handler = (request) => {
    ends.push(request.nameEnd(0));
    return 0;
  };
  const kernel = new FakeKernel(new Map([[Opcode.lookup, handler]]));
  kernel.answer({ opcode: Opcode.lookup, body: body().name("abc").done() });
  kernel.answer({ opcode: Opcode.lookup, body: Buffer.from("abc") });
  kernel.answer({ opcode: Opcode.lookup, body: body().name("").name("x").done() });
  assert.deepEqual(ends, [3, -1, 0]);
});
