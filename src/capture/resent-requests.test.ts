/** Requests that come again after their engine was killed, at each stage that it can reach. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { after, test } from "node:test";
import { skipUnless } from "../../test/support/capabilities.ts";
import { type Answer, body, type Message } from "../../test/support/fake-kernel.ts";
import { RawEngine } from "../../test/support/raw-engine.ts";
import { Opcode } from "../fuse/abi.ts";

const skip = skipUnless("root");
const engines: RawEngine[] = [];
after(() => {
  for (const engine of engines) engine.remove();
});

function newEngine(): RawEngine {
  const engine = new RawEngine();
  engines.push(engine);
  return engine;
}

const RESENT = 1n << 63n;

interface Scenario {
  readonly prepare: (engine: RawEngine) => Message;
  /** Kinds that the request records. */
  readonly records: readonly string[];
  readonly verify: (engine: RawEngine, answer: Answer) => void;
}

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  mknod: {
    prepare: () => ({
      opcode: Opcode.mknod,
      body: body().u32(0o100644, 0, 0, 0).name("new").done(),
    }),
    records: ["create"],
    verify: ({ root }) => assert.deepEqual(readdirSync(root), ["new"]),
  },
  mkdir: {
    prepare: () => ({ opcode: Opcode.mkdir, body: body().u32(0o755, 0).name("d").done() }),
    records: ["create"],
    verify: ({ root }) => assert.deepEqual(readdirSync(root), ["d"]),
  },
  write: {
    prepare: (engine) => {
      writeFileSync(`${engine.root}/f`, "before");
      return {
        opcode: Opcode.write,
        nodeId: engine.lookup(1, "f"),
        body: body().u64(0, 0).u32(5, 0).u64(0, 0).bytes(Buffer.from("after")).done(),
      };
    },
    records: ["write"],
    verify: ({ root }) => assert.equal(readFileSync(`${root}/f`, "utf8"), "aftere"),
  },
  link: {
    prepare: (engine) => {
      writeFileSync(`${engine.root}/f`, "x");
      const node = engine.lookup(1, "f");
      return { opcode: Opcode.link, body: body().u64(node).name("g").done() };
    },
    records: ["link"],
    verify: ({ root }) => assert.deepEqual(readdirSync(root), ["f", "g"]),
  },
  unlink: {
    prepare: (engine) => {
      writeFileSync(`${engine.root}/f`, "x");
      engine.lookup(1, "f");
      return { opcode: Opcode.unlink, body: body().name("f").done() };
    },
    records: ["unlink"],
    verify: ({ root }) => assert.deepEqual(readdirSync(root), []),
  },
  rename: {
    prepare: (engine) => {
      writeFileSync(`${engine.root}/f`, "moved");
      writeFileSync(`${engine.root}/g`, "replaced");
      engine.lookup(1, "g");
      return { opcode: Opcode.rename2, body: body().u64(1).u32(0, 0).name("f").name("g").done() };
    },
    records: ["rename"],
    verify: ({ root }) => assert.equal(readFileSync(`${root}/g`, "utf8"), "moved"),
  },
  exchange: {
    prepare: (engine) => {
      writeFileSync(`${engine.root}/f`, "1");
      writeFileSync(`${engine.root}/g`, "2");
      return { opcode: Opcode.rename2, body: body().u64(1).u32(2, 0).name("f").name("g").done() };
    },
    records: ["rename"],
    verify: ({ root }) => assert.equal(readFileSync(`${root}/g`, "utf8"), "1"),
  },
  setxattr: {
    prepare: (engine) => {
      writeFileSync(`${engine.root}/f`, "");
      const nodeId = engine.lookup(1, "f");
      // XATTR_CREATE: done twice, the second fails beneath.
      const set = body().u32(1, 1, 0, 0).name("trusted.x").bytes(Uint8Array.of(1)).done();
      return { opcode: Opcode.setxattr, nodeId, body: set };
    },
    records: ["setxattr"],
    verify: () => {},
  },
};

for (const [name, { prepare, records, verify }] of Object.entries(SCENARIOS)) {
  test(`${name} that was answered by nobody is done and recorded once`, { skip }, () => {
    const engine = newEngine();
    const message = { ...prepare(engine), unique: 42n };
    const again = { ...message, unique: 42n | RESENT };
    assert.equal(engine.kernel.answer(message).error, 0);
    // Three engines in a row are killed after they did it and before their answer was read.
    for (let crash = 0; crash < 3; crash++) {
      engine.start();
      const answer = engine.kernel.answer(again);
      assert.equal(answer.error, 0, `crash ${crash}`);
      verify(engine, answer);
    }
    assert.deepEqual(engine.recorded(), records);
  });

  test(`${name} that was done and not recorded is recorded once`, { skip }, () => {
    const engine = newEngine();
    const message = { ...prepare(engine), unique: 42n };
    assert.equal(engine.kernel.answer(message).error, 0);
    // As if the engine had been killed between the change and its record.
    const { ring } = engine;
    assert.equal(ring.head, 1);
    new DataView(ring.memory.buffer).setInt32(ring.layout.indexAt + 32, 0, true);
    for (let crash = 0; crash < 3; crash++) {
      engine.start();
      const answer = engine.kernel.answer({ ...message, unique: 42n | RESENT });
      assert.equal(answer.error, 0, `crash ${crash}`);
      verify(engine, answer);
    }
    assert.deepEqual(engine.recorded(), ["void", ...records]);
  });

  test(`${name} that was never begun is done and recorded once`, { skip }, () => {
    const engine = newEngine();
    const message = { ...prepare(engine), unique: 42n };
    engine.start();
    const answer = engine.kernel.answer({ ...message, unique: 42n | RESENT });
    assert.equal(answer.error, 0);
    verify(engine, answer);
    assert.deepEqual(engine.recorded(), records);
  });
}

test("a record stands where its intent said, though the reader emptied the arena meanwhile", {
  skip,
}, () => {
  const engine = newEngine();
  // The arena is not at its beginning, and not empty.
  for (const name of ["a", "b"]) {
    engine.kernel.answer({
      opcode: Opcode.mknod,
      body: body().u32(0o100644, 0, 0, 0).name(name).done(),
    });
  }
  const { recorder } = engine.context;
  const start = recorder.start.bind(recorder);
  // Between the intent and the record the reader catches up.
  recorder.start = (...args) => {
    engine.recorded();
    return start(...args);
  };
  const message = { opcode: Opcode.mkdir, body: body().u32(0o755, 0).name("d").done() };
  assert.equal(engine.kernel.answer({ ...message, unique: 42n }).error, 0);
  engine.start();
  assert.equal(engine.kernel.answer({ ...message, unique: 42n | RESENT }).error, 0);
  assert.deepEqual(engine.recorded(), ["create"], "once");
});
