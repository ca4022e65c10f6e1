import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  OP_BYTES_MAX,
  OP_HEADER_BYTES,
  OpKind,
  OpView,
  opKindName,
  TIME_BYTES,
  validateOp,
  validEntryName,
} from "./op.ts";

const u53 = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const i53 = fc.integer({ min: -(2 ** 50), max: 2 ** 50 });
const name = fc.uint8Array({ minLength: 1, maxLength: 255 }).filter(validEntryName);

function newOp(): OpView {
  return new OpView(new ArrayBuffer(1 << 16)).at(64);
}

test("OpView gives back every field that was written, and zeroes the rest", () => {
  const fields = fc.record({
    mount: fc.integer({ min: 0, max: 0xffff }),
    node: u53,
    offset: u53,
    length: u53,
    sec: i53,
    nsec: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    extra: u53,
    lsn: u53,
  });
  fc.assert(
    fc.property(fields, (given) => {
      const op = newOp();
      op.bytes.fill(0xff);
      op.start(OpKind.write, given.mount, given.node);
      assert.deepEqual([op.size, op.flags, op.lsn, op.length1, op.length2], [80, 0, 0, 0, 0]);
      op.offset = given.offset;
      op.length = given.length;
      op.setMtime(given.sec, given.nsec);
      op.mode = given.mode;
      op.uid = given.uid;
      op.gid = given.gid;
      op.extra = given.extra;
      op.lsn = given.lsn;
      assert.equal(op.kind, OpKind.write);
      const { mount, node, offset, length, mode, uid, gid, extra, lsn } = op;
      const back = { mount, node, offset, length, sec: op.mtimeSec, nsec: op.mtimeNsec };
      assert.deepEqual({ ...back, mode, uid, gid, extra, lsn }, { ...given });
      assert.deepEqual([op.parent, op.newParent], [given.offset, given.length]);
      assert.equal(op.bytes[63], 0xff, "nothing before it");
      assert.equal(op.bytes[64 + 80], 0xff, "nothing behind it");
    }),
  );
});

/** A whole record of each kind that has a body. */
function makeOp(kind: number, first: Uint8Array, second: Uint8Array): OpView {
  const op = newOp();
  op.start(kind as typeof OpKind.write, 1, 2);
  const times = kind === OpKind.rename ? 2 : 1;
  const isEntry = kind >= OpKind.create && kind <= OpKind.rename;
  const at = isEntry ? times * TIME_BYTES : 0;
  const fixed: Record<number, number> = {
    [OpKind.setattr]: 32,
    [OpKind.copy]: 8,
    [OpKind.setflags]: 8,
    [OpKind.verifyBlock]: 16,
  };
  const isNamed = isEntry || kind === OpKind.setxattr || kind === OpKind.removexattr;
  if (isNamed) {
    op.length1 = first.length;
    op.length2 = second.length;
    op.bytes.set(first, op.body(at));
    op.bytes.set(second, op.body(at + first.length));
    op.size = OP_HEADER_BYTES + at + first.length + second.length;
  } else if (kind === OpKind.write || kind === OpKind.mirrorBlock) {
    op.bytes.set(second, op.body(0));
    op.length = second.length;
    op.size = OP_HEADER_BYTES + second.length;
  } else op.size = OP_HEADER_BYTES + (fixed[kind] ?? 0);
  return op;
}

const kinds = fc.constantFrom(...Object.values(OpKind));

test("validateOp accepts whole records of every kind and refuses each cut of them", () => {
  fc.assert(
    fc.property(kinds, name, name, (kind, first, second) => {
      const op = makeOp(kind, first, second);
      assert.equal(validateOp(op, op.size), undefined, opKindName(kind));
      assert.equal(validateOp(op, op.size + 1000), undefined, "what is behind it is not its own");
      for (let available = 0; available < op.size; available++) {
        assert.notEqual(validateOp(op, available), undefined, `${opKindName(kind)} ${available}`);
      }
      // A record that says itself that it is shorter, while its parts are not.
      const { size } = op;
      for (let says = 0; says < size; says++) {
        op.size = says;
        assert.notEqual(validateOp(op, 1 << 15), undefined, `${opKindName(kind)} says ${says}`);
      }
    }),
    { numRuns: 200 },
  );
});

test("validateOp never throws and never accepts names beyond the record", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 80, maxLength: 400 }), kinds, (bytes, kind) => {
      const op = new OpView(new ArrayBuffer(1 << 12));
      op.bytes.set(bytes);
      op.bytes[4] = kind;
      op.size = bytes.length;
      // Small lengths, or nearly all would be refused for one reason.
      op.length1 &= 0xff;
      op.length2 &= 0xff;
      if (validateOp(op, bytes.length) !== undefined) return;
      assert.ok(op.body(op.namesAt) + op.length1 <= (op.namesAt > 0 ? bytes.length : 1 << 12));
    }),
  );
});

test("validateOp refuses unknown kinds and records over the limit", () => {
  const op = newOp();
  for (const kind of [15, 22, 100, 255]) {
    op.start(kind as typeof OpKind.write, 0, 0);
    assert.match(validateOp(op, 80) ?? "", /unknown kind/);
  }
  op.start(OpKind.write, 0, 0);
  op.size = OP_BYTES_MAX + 1;
  assert.match(validateOp(op, 0x7fffffff) ?? "", /over the limit/);
});

test("validateOp refuses names that could lead out of a directory", () => {
  const ok = Buffer.from("fine");
  for (const bad of ["", ".", "..", "a/b", "/", "a\0", "x".repeat(256)]) {
    const forbidden = Buffer.from(bad);
    for (const kind of [OpKind.create, OpKind.link, OpKind.unlink, OpKind.rename]) {
      assert.notEqual(validateOp(makeOp(kind, forbidden, ok), 60_000), undefined, `${kind} ${bad}`);
    }
    assert.notEqual(validateOp(makeOp(OpKind.rename, ok, forbidden), 60_000), undefined, bad);
  }
  for (const good of ["...", ".a", "..a", " ", "\n", "x".repeat(255), "\xff\xfe"]) {
    assert.ok(validEntryName(Buffer.from(good, "latin1")), good);
  }
});
