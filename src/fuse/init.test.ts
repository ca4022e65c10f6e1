import assert from "node:assert/strict";
import { test } from "node:test";
import { body, FakeKernel, u32At } from "../../test/support/fake-kernel.ts";
import { EPROTO } from "../platform/errno.ts";
import { INIT_OUT_BYTES, InitFlag, InitFlag2, Opcode, PROTOCOL_MINOR } from "./abi.ts";
import { answerInit, MAX_WRITE_BYTES, type Negotiated } from "./init.ts";

function ask(major: number, minor: number, flags: number, flags2?: number) {
  let agreed: Negotiated | undefined;
  const kernel = new FakeKernel(
    new Map([
      [
        Opcode.init,
        (request, reply) => {
          agreed = answerInit(request, reply);
          return agreed === undefined ? -EPROTO : 0;
        },
      ],
    ]),
  );
  const writer = body().u32(major, minor, 131_072, flags);
  // The body of kernels before 7.36 ends here.
  if (flags2 !== undefined) writer.u32(flags2).bytes(new Uint8Array(44));
  const answer = kernel.answer({ opcode: Opcode.init, body: writer.done() });
  return { agreed, answer };
}

const ALL = 0xffffffff;

test("answerInit agrees on the older of the two minor versions", () => {
  for (const minor of [33, 34, 35, 36, 40, 44, 45, 46, 99, 0xffffffff]) {
    const { agreed, answer } = ask(7, minor, ALL, ALL);
    assert.equal(agreed?.minor, Math.min(minor, PROTOCOL_MINOR));
    assert.equal(answer.body.length, INIT_OUT_BYTES);
    assert.deepEqual([u32At(answer.body, 0), u32At(answer.body, 4)], [7, agreed?.minor]);
  }
});

test("answerInit refuses kernels that are too old, or of another major version", () => {
  for (const [major, minor] of [
    [7, 0],
    [7, 32],
    [6, 45],
    [8, 0],
    [0, 0],
    [ALL, ALL],
  ] as const) {
    const { agreed, answer } = ask(major, minor, ALL, ALL);
    assert.equal(agreed, undefined);
    assert.equal(answer.error, -EPROTO);
  }
});

test("answerInit takes nothing that the kernel does not offer, flag by flag", () => {
  for (let bit = 0; bit < 32; bit++) {
    const offered = (1 << bit) >>> 0;
    const taken = u32At(ask(7, 45, offered).answer.body, 12);
    assert.ok(taken === 0 || taken === offered, `flag ${bit}`);
    const taken2 = u32At(ask(7, 45, InitFlag.initExt, offered).answer.body, 32);
    assert.ok(taken2 === 0 || taken2 === offered, `flag ${bit + 32}`);
  }
});

test("answerInit never takes file locks or the write-back cache", () => {
  const POSIX_LOCKS = 1 << 1;
  const FLOCK_LOCKS = 1 << 10;
  const WRITEBACK_CACHE = 1 << 16;
  const taken = u32At(ask(7, 45, ALL, ALL).answer.body, 12);
  assert.equal(taken & (POSIX_LOCKS | FLOCK_LOCKS | WRITEBACK_CACHE), 0);
  const wanted = InitFlag.posixAcl | InitFlag.dontMask | InitFlag.noOpenSupport;
  assert.equal(taken & wanted, wanted);
});

test("answerInit reads the upper flags only where the kernel says that it sends them", () => {
  assert.equal(ask(7, 45, ALL & ~InitFlag.initExt, ALL).agreed?.resend, false);
  // It says so, and the body ends before them.
  assert.equal(ask(7, 45, ALL).agreed?.resend, false);
  const both = ask(7, 45, InitFlag.initExt, InitFlag2.hasResend | InitFlag2.passthrough);
  assert.equal(both.agreed?.resend, true);
  assert.equal(both.agreed?.passthrough, true);
  assert.equal(u32At(both.answer.body, 36), 1, "one level of stacking for files that are held");
  const resend = ask(7, 45, InitFlag.initExt, InitFlag2.hasResend);
  assert.equal(resend.agreed?.passthrough, false);
  assert.equal(u32At(resend.answer.body, 36), 0);
});

test("answerInit asks for the read-ahead that the kernel offers and for large writes", () => {
  const { answer } = ask(7, 45, ALL, ALL);
  assert.equal(u32At(answer.body, 8), 131_072);
  assert.equal(u32At(answer.body, 20), MAX_WRITE_BYTES);
  assert.equal(u32At(answer.body, 24), 1);
  assert.equal(u32At(answer.body, 28) & 0xffff, MAX_WRITE_BYTES / 4096);
});
