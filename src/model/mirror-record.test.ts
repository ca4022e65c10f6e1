import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  appendDirectoryEntry,
  type DirectoryEntry,
  directoryEntryBytes,
  MIRROR_DIRECTORY_BYTES,
  type MirrorNode,
  MirrorRecordError,
  mirrorProblem,
  mirrorNodeBytes,
  readDirectoryEntries,
  readMirrorNode,
  startMirrorDirectory,
  writeMirrorNode,
} from "./mirror-record.ts";
import { OP_HEADER_BYTES, OpKind, OpView } from "./op.ts";

const u53 = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const i53 = fc.integer({ min: -(2 ** 50), max: 2 ** 50 });
const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const plain = { noNullPrototype: true };

const xattr = fc.record({ name: bytes(30), value: bytes(60) }, plain);
const node: fc.Arbitrary<MirrorNode> = fc.record(
  {
    size: u53,
    atimeSec: i53,
    atimeNsec: u32,
    rdev: u53,
    links: u32,
    inodeFlags: u32,
    projectId: u32,
    target: bytes(80),
    xattrs: fc.array(xattr, { maxLength: 4 }),
  },
  plain,
);
const entry: fc.Arbitrary<DirectoryEntry> = fc.record(
  {
    ino: u53,
    size: u53,
    mtimeSec: i53,
    mtimeNsec: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u32,
    rdev: u53,
    name: bytes(60),
    target: bytes(60),
  },
  plain,
);

const NUMBERS = {
  ...{ ino: 7, size: 0, mtimeSec: 0, mtimeNsec: 0, mode: 0o100644, uid: 0, gid: 0, links: 1 },
  rdev: 0,
};
const NODE = {
  ...{ size: 0, atimeSec: 0, atimeNsec: 0, rdev: 0, links: 1, inodeFlags: 0, projectId: 0 },
};

function newOp(kind: typeof OpKind.mirrorNode | typeof OpKind.mirrorDirectory): OpView {
  const op = new OpView(new ArrayBuffer(1 << 14)).at(128);
  op.bytes.fill(0xcc);
  op.start(kind, 0, 7);
  return op;
}

/** Reads the record as if it were `size` bytes long, with something else behind it. */
function readCut<T>(op: OpView, size: number, read: (op: OpView) => T): T {
  const whole = op.size;
  op.size = size;
  try {
    return read(op);
  } finally {
    op.size = whole;
  }
}

test("mirror-node gives back what was written, and refuses every cut", () => {
  fc.assert(
    fc.property(node, (given) => {
      const op = newOp(OpKind.mirrorNode);
      writeMirrorNode(op, given);
      assert.equal(op.size, OP_HEADER_BYTES + mirrorNodeBytes(given));
      assert.deepEqual(readMirrorNode(op), given);
      for (let size = OP_HEADER_BYTES; size < op.size; size++) {
        assert.throws(() => readCut(op, size, readMirrorNode), MirrorRecordError, `${size}`);
      }
    }),
    { numRuns: 100 },
  );
});

test("mirror-directory gives back what was written, and refuses every cut", () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 5 }), (given) => {
      const op = newOp(OpKind.mirrorDirectory);
      startMirrorDirectory(op);
      let size = OP_HEADER_BYTES + MIRROR_DIRECTORY_BYTES;
      for (const each of given) {
        appendDirectoryEntry(op, each);
        size += directoryEntryBytes(each.name.length, each.target.length);
        assert.equal(op.size, size);
      }
      assert.deepEqual(readDirectoryEntries(op), given);
      for (let cut = OP_HEADER_BYTES; cut < op.size; cut++) {
        assert.throws(() => readCut(op, cut, readDirectoryEntries), MirrorRecordError, `${cut}`);
      }
    }),
    { numRuns: 60 },
  );
});

test("records of random bytes are read or refused, within their bounds", () => {
  fc.assert(
    fc.property(bytes(400), fc.boolean(), (given, isNode) => {
      const op = newOp(isNode ? OpKind.mirrorNode : OpKind.mirrorDirectory);
      op.bytes.set(given, op.body(0));
      op.size = OP_HEADER_BYTES + given.length;
      try {
        if (isNode) readMirrorNode(op);
        else readDirectoryEntries(op);
      } catch (error) {
        assert.ok(error instanceof MirrorRecordError);
      }
    }),
    { numRuns: 500 },
  );
});

test("mirrorProblem() finds forbidden names, and bodies that are cut", () => {
  const plainEntry = { ...NUMBERS, target: Buffer.from("../..") };
  const listing = (...names: string[]): OpView => {
    const op = newOp(OpKind.mirrorDirectory);
    startMirrorDirectory(op);
    for (const name of names) {
      appendDirectoryEntry(op, { ...plainEntry, name: Buffer.from(name, "latin1") });
    }
    return op;
  };
  assert.equal(mirrorProblem(listing("a", "...", "\xff\xfe", "x".repeat(255))), undefined);
  for (const bad of ["", ".", "..", "a/b", "/", "../x", "a\0", "x".repeat(256)]) {
    assert.match(mirrorProblem(listing("a", bad)) ?? "", /forbidden name/, bad);
  }
  const cut = listing("a");
  cut.size -= 8;
  assert.match(mirrorProblem(cut) ?? "", /beyond its end/);

  const node = (xattr: string, target: string): OpView => {
    const op = newOp(OpKind.mirrorNode);
    const xattrs = [{ name: Buffer.from(xattr), value: Buffer.alloc(3) }];
    writeMirrorNode(op, { ...NODE, xattrs, target: Buffer.from(target) });
    return op;
  };
  assert.equal(mirrorProblem(node("user.a", "/anywhere")), undefined);
  assert.match(mirrorProblem(node("", "")) ?? "", /forbidden name/);
  assert.match(mirrorProblem(node("user.a\0b", "")) ?? "", /forbidden name/);
  assert.match(mirrorProblem(node("user.a", "a\0b")) ?? "", /forbidden target/);
});
