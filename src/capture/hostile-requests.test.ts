/** What the handlers do with requests that no kernel sends. Nothing is mounted. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { after, test } from "node:test";
import { body, u64At, u32At } from "../../test/support/fake-kernel.ts";
import { skipUnless } from "../../test/support/capabilities.ts";
import { RawEngine } from "../../test/support/raw-engine.ts";
import { Prng } from "../base/prng.ts";
import { BODY_BYTES_MIN, Opcode } from "../fuse/abi.ts";
import { MAX_WRITE_BYTES } from "../fuse/init.ts";
import { EINVAL, ENOENT, ENOTTY, ESTALE } from "../platform/errno.ts";

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

const SILENT = new Set<number>([Opcode.forget, Opcode.batchForget, Opcode.interrupt]);
const NO_NODE = 987_654_321;

/** A well-formed body for each opcode that acts on a node. */
const BODIES: readonly (readonly [number, Uint8Array])[] = [
  [Opcode.lookup, body().name("x").done()],
  [Opcode.getattr, new Uint8Array(16)],
  [Opcode.setattr, body().u32(1, 0).bytes(new Uint8Array(80)).done()],
  [Opcode.setattr, body().u32(8, 0).bytes(new Uint8Array(80)).done()],
  [Opcode.readlink, new Uint8Array(0)],
  [Opcode.symlink, body().name("x").name("target").done()],
  [Opcode.mknod, body().u32(0o100644, 0, 0, 0).name("x").done()],
  [Opcode.mkdir, body().u32(0o755, 0).name("x").done()],
  [Opcode.unlink, body().name("x").done()],
  [Opcode.rmdir, body().name("x").done()],
  [Opcode.rename, body().u64(1).name("x").name("y").done()],
  [Opcode.rename2, body().u64(1).u32(0, 0).name("x").name("y").done()],
  [Opcode.link, body().u64(1).name("x").done()],
  [Opcode.read, body().u64(0, 0).u32(4096, 0).u64(0, 0).done()],
  [Opcode.write, body().u64(0, 0).u32(1, 0).u64(0, 0).bytes(Uint8Array.of(1)).done()],
  [Opcode.fsync, new Uint8Array(16)],
  [Opcode.fsyncdir, new Uint8Array(16)],
  [Opcode.setxattr, body().u32(1, 0, 0, 0).name("user.x").bytes(Uint8Array.of(1)).done()],
  [Opcode.getxattr, body().u32(64, 0).name("user.x").done()],
  [Opcode.listxattr, body().u32(64, 0).done()],
  [Opcode.removexattr, body().name("user.x").done()],
  [Opcode.readdir, body().u64(0, 0).u32(4096, 0).u64(0, 0).done()],
  [Opcode.readdirplus, body().u64(0, 0).u32(4096, 0).u64(0, 0).done()],
  [Opcode.ioctl, body().u64(0).u32(0, 0x80086601).u64(0).u32(0, 4).done()],
  [Opcode.fallocate, body().u64(0, 0, 100).u32(0, 0).done()],
  [Opcode.lseek, body().u64(0, 0).u32(3, 0).done()],
  [Opcode.copyFileRange, body().u64(0, 0, 1, 0, 0, 10, 0).done()],
  [Opcode.tmpfile, body().u32(2, 0o644, 0, 0).done()],
  [Opcode.statx, new Uint8Array(24)],
];

test("a node id that does not exist is answered ESTALE, or ENOENT for its names", { skip }, () => {
  const engine = newEngine();
  writeFileSync(`${engine.root}/x`, "kept");
  const strange = [0, 2, NO_NODE, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 2 ** 63, 2 ** 64 - 2 ** 11];
  for (const nodeId of strange) {
    for (const [opcode, bytes] of BODIES) {
      const { error } = engine.kernel.answer({ opcode, nodeId, body: bytes });
      const shown = `opcode ${opcode}, node ${nodeId}`;
      assert.ok(error === -ESTALE || error === -ENOENT, `${shown}: ${error}`);
    }
  }
  assert.deepEqual(engine.kernel.bugs, []);
  assert.deepEqual(engine.recorded(), []);
  assert.equal(readFileSync(`${engine.root}/x`, "utf8"), "kept");
});

test("a second node id in the body that does not exist is answered ESTALE or ENOENT", {
  skip,
}, () => {
  const engine = newEngine();
  writeFileSync(`${engine.root}/x`, "kept");
  const file = engine.lookup(1, "x");
  const requests: readonly (readonly [number, number, Uint8Array])[] = [
    [Opcode.rename, 1, body().u64(NO_NODE).name("x").name("y").done()],
    [Opcode.rename2, 1, body().u64(NO_NODE).u32(0, 0).name("x").name("y").done()],
    [Opcode.link, 1, body().u64(NO_NODE).name("y").done()],
    [Opcode.copyFileRange, file, body().u64(0, 0, NO_NODE, 0, 0, 4, 0).done()],
  ];
  for (const [opcode, nodeId, bytes] of requests) {
    const { error } = engine.kernel.answer({ opcode, nodeId, body: bytes });
    assert.ok(error === -ESTALE || error === -ENOENT, `opcode ${opcode}: ${error}`);
  }
  assert.deepEqual(engine.recorded(), []);
});

test("a name without its NUL is answered EINVAL", { skip }, () => {
  const engine = newEngine();
  writeFileSync(`${engine.root}/x`, "kept");
  const file = engine.lookup(1, "x");
  const x = Buffer.from("xx");
  const requests: readonly (readonly [number, Uint8Array])[] = [
    [Opcode.lookup, x],
    [Opcode.unlink, x],
    [Opcode.rmdir, x],
    [Opcode.removexattr, x],
    [Opcode.symlink, Buffer.from("xxx")],
    [Opcode.symlink, body().name("new").bytes(x).done()],
    [Opcode.mknod, body().u32(0o100644, 0, 0, 0).bytes(x).done()],
    [Opcode.mkdir, body().u32(0o755, 0).bytes(x).done()],
    [Opcode.link, body().u64(file).bytes(x).done()],
    [Opcode.rename, body().u64(1).bytes(Buffer.from("xxxx")).done()],
    [Opcode.rename, body().u64(1).name("x").bytes(x).done()],
    [Opcode.rename2, body().u64(1).u32(0, 0).bytes(Buffer.from("xxxx")).done()],
    [Opcode.rename2, body().u64(1).u32(0, 0).name("x").bytes(x).done()],
    [Opcode.getxattr, body().u32(64, 0).bytes(x).done()],
    [Opcode.setxattr, body().u32(0, 0, 0, 0).bytes(x).done()],
  ];
  for (const [opcode, bytes] of requests) {
    const { error } = engine.kernel.answer({ opcode, body: bytes });
    assert.equal(error, -EINVAL, `opcode ${opcode}`);
  }
  assert.deepEqual(engine.recorded(), []);
});

test("a WRITE or SETXATTR that says more than it carries is answered EINVAL", { skip }, () => {
  const engine = newEngine();
  writeFileSync(`${engine.root}/x`, "kept");
  const nodeId = engine.lookup(1, "x");
  for (const size of [5, 4097, MAX_WRITE_BYTES + 1, 0x7fffffff, 0xffffffff]) {
    const write = body().u64(0, 0).u32(size, 0).u64(0, 0).bytes(new Uint8Array(4)).done();
    assert.equal(engine.kernel.answer({ opcode: Opcode.write, nodeId, body: write }).error, -22);
    const xattr = body().u32(size, 0, 0, 0).name("user.x").bytes(new Uint8Array(4)).done();
    const { error } = engine.kernel.answer({ opcode: Opcode.setxattr, nodeId, body: xattr });
    assert.equal(error, -EINVAL);
  }
  const set = body().u64(0).u32(0, 0x40086602).u64(0).u32(4, 0).bytes(new Uint8Array(3)).done();
  assert.equal(engine.kernel.answer({ opcode: Opcode.ioctl, nodeId, body: set }).error, -EINVAL);
  assert.deepEqual(engine.recorded(), []);
  assert.equal(readFileSync(`${engine.root}/x`, "utf8"), "kept");
});

test("a BATCH_FORGET that counts more than it carries forgets what it carries", { skip }, () => {
  const engine = newEngine();
  for (const name of ["a", "b", "c"]) writeFileSync(`${engine.root}/${name}`, name);
  const [a, b, c] = ["a", "b", "c"].map((name) => engine.lookup(1, name)) as [
    number,
    number,
    number,
  ];
  const { nodes } = engine.context.beneath;
  const isKnown = (nodeId: number) => nodes.handle(nodeId - 1, new Uint32Array(10));
  const both = body().u32(0xffffffff, 0).u64(a, 1, b, 1).bytes(new Uint8Array(15)).done();
  assert.equal(engine.kernel.ask({ opcode: Opcode.batchForget, body: both }), undefined);
  assert.deepEqual([a, b, c].map(isKnown), [false, false, true]);
  // More lookups than there were, and nodes that are not known.
  const much = body()
    .u32(3, 0)
    .u64(c, 2n ** 64n - 1n, NO_NODE, 1, 0, 1)
    .done();
  assert.equal(engine.kernel.ask({ opcode: Opcode.batchForget, body: much }), undefined);
  assert.equal(isKnown(c), false);
  assert.deepEqual(engine.kernel.bugs, []);
});

test("a READ or READDIR of any size is answered within the reply's room", { skip }, () => {
  const engine = newEngine();
  writeFileSync(`${engine.root}/x`, Buffer.alloc(3 << 20, 7));
  const nodeId = engine.lookup(1, "x");
  for (const size of [0, 1, 1 << 20, (1 << 20) + 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
    const read = body().u64(0, 0).u32(size, 0).u64(0, 0).done();
    const answer = engine.kernel.answer({ opcode: Opcode.read, nodeId, body: read });
    assert.equal(answer.error, 0);
    assert.ok(answer.body.length <= Math.min(size, MAX_WRITE_BYTES + 4096));
    assert.ok(answer.body.every((byte) => byte === 7));
    for (const opcode of [Opcode.readdir, Opcode.readdirplus]) {
      const listing = engine.kernel.answer({ opcode, body: read });
      assert.ok(listing.body.length <= size, `opcode ${opcode}, ${size}`);
    }
    for (const opcode of [Opcode.getxattr, Opcode.listxattr]) {
      const xattr = body().u32(size, 0).name("user.none").done();
      engine.kernel.answer({ opcode, nodeId, body: xattr });
    }
  }
  assert.deepEqual(engine.kernel.bugs, []);
});

test("an ioctl that is not known is answered ENOTTY", { skip }, () => {
  const engine = newEngine();
  writeFileSync(`${engine.root}/x`, "");
  const nodeId = engine.lookup(1, "x");
  for (const command of [0, 0x5401, 0xc020660b, 0xffffffff]) {
    const ioctl = body().u64(0).u32(0, command).u64(0).u32(64, 64).bytes(new Uint8Array(64)).done();
    assert.equal(
      engine.kernel.answer({ opcode: Opcode.ioctl, nodeId, body: ioctl }).error,
      -ENOTTY,
    );
  }
});

test("LOOKUP of . and .. and of names with a slash stays beneath", { skip }, () => {
  const engine = newEngine();
  mkdirSync(`${engine.root}/d`);
  const d = engine.lookup(1, "d");
  assert.equal(engine.lookup(1, "."), 1);
  assert.equal(engine.lookup(1, ".."), 1, "above the root there is nothing");
  assert.equal(engine.lookup(d, ".."), 1);
  assert.equal(engine.lookup(d, "."), d);
});

test("READLINK answers the target of a symlink and EINVAL for the rest", { skip }, () => {
  const engine = newEngine();
  symlinkSync("some/where", `${engine.root}/l`);
  writeFileSync(`${engine.root}/f`, "");
  const answer = engine.kernel.answer({ opcode: Opcode.readlink, nodeId: engine.lookup(1, "l") });
  assert.equal(Buffer.from(answer.body).toString(), "some/where");
  const file = engine.kernel.answer({ opcode: Opcode.readlink, nodeId: engine.lookup(1, "f") });
  assert.ok(file.error < 0);
});

test("GETATTR answers what stat does", { skip }, () => {
  const engine = newEngine();
  writeFileSync(`${engine.root}/f`, "12345");
  const nodeId = engine.lookup(1, "f");
  const answer = engine.kernel.answer({
    opcode: Opcode.getattr,
    nodeId,
    body: new Uint8Array(16),
  });
  const status = statSync(`${engine.root}/f`);
  assert.equal(u64At(answer.body, 16), status.ino);
  assert.equal(u64At(answer.body, 24), 5);
  assert.equal(u32At(answer.body, 16 + 60), status.mode);
});

const SEED = Number(process.env.STANDIN_SEED ?? 1);
const ROUNDS = Number(process.env.STANDIN_ROUNDS ?? 6000);

test(`random requests are answered once and end nothing (seed ${SEED})`, { skip }, () => {
  const engine = newEngine();
  const prng = new Prng(SEED);
  mkdirSync(`${engine.root}/d`);
  writeFileSync(`${engine.root}/f`, "kept");
  const known = [1, engine.lookup(1, "d"), engine.lookup(1, "f")];
  const opcodes = [...Object.values(Opcode), 0, 31, 49, 4096].filter(
    // The folder is in memory, which FALLOCATE of any size would fill.
    (opcode) => opcode !== Opcode.init && opcode !== Opcode.fallocate,
  );
  for (let round = 0; round < ROUNDS; round++) {
    const opcode = prng.pick(opcodes);
    const minimum = BODY_BYTES_MIN.get(opcode) ?? 0;
    const bytes = prng.bytes(prng.chance(0.8) ? minimum + prng.int(40) : prng.int(200));
    // Mostly small numbers, or every offset and length would be absurd.
    if (prng.chance(0.7)) for (let i = 0; i < bytes.length; i++) if (prng.chance(0.8)) bytes[i] = 0;
    // A name of one of the files, sometimes.
    if (prng.chance(0.3)) bytes.set(Buffer.from("f\0").subarray(0, bytes.length), 0);
    const nodeId = prng.chance(0.8) ? prng.pick(known) : prng.int(2 ** 52);
    const unique = BigInt(prng.int(2 ** 40)) | (prng.chance(0.1) ? 1n << 63n : 0n);
    const answer = engine.kernel.ask({ opcode, nodeId, body: bytes, unique });
    if (SILENT.has(opcode)) assert.equal(answer, undefined);
    else assert.equal(answer?.unique, unique);
    if (round % 200 === 0) engine.recorded();
  }
  const [first] = engine.kernel.bugs;
  assert.equal(first, undefined, `opcode ${first?.opcode}: ${(first?.error as Error)?.stack}`);
  const alive = engine.kernel.answer({ opcode: Opcode.getattr, body: new Uint8Array(16) });
  assert.equal(alive.error, 0);
});
