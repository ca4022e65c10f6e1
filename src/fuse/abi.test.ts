import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ATTR_OUT_BYTES,
  type AttrSource,
  ENTRY_OUT_BYTES,
  writeAttrOut,
  writeEntry,
  writeNegativeEntry,
} from "./abi.ts";

const SOURCE: AttrSource = {
  ino: 0x1234_5678_9abc,
  size: 2 ** 40 + 3,
  blocks: 2 ** 31 + 1,
  atimeSec: -1,
  atimeNsec: 1,
  mtimeSec: 2 ** 33,
  mtimeNsec: 999_999_999,
  ctimeSec: -(2 ** 31) - 5,
  ctimeNsec: 3,
  mode: 0o104755,
  nlink: 65_000,
  uid: 0xfffffffe,
  gid: 65_534,
  rdev: 0xfffffff0,
  blksize: 4096,
};

function view(bytes: number): DataView {
  const out = new DataView(new ArrayBuffer(bytes + 16));
  for (let at = 0; at < out.byteLength; at++) out.setUint8(at, 0xee);
  return out;
}

function assertAttr(out: DataView, at: number): void {
  assert.equal(out.getBigUint64(at, true), BigInt(SOURCE.ino));
  assert.equal(out.getBigUint64(at + 8, true), BigInt(SOURCE.size));
  assert.equal(out.getBigUint64(at + 16, true), BigInt(SOURCE.blocks));
  assert.equal(out.getBigInt64(at + 24, true), -1n, "times before 1970");
  assert.equal(out.getBigInt64(at + 32, true), 2n ** 33n, "times after 2038");
  assert.equal(out.getBigInt64(at + 40, true), BigInt(SOURCE.ctimeSec));
  const words = [48, 52, 56, 60, 64, 68, 72, 76, 80, 84].map((word) =>
    out.getUint32(at + word, true),
  );
  const { atimeNsec, mtimeNsec, ctimeNsec, mode, nlink, uid, gid, rdev, blksize } = SOURCE;
  assert.deepEqual(words, [
    atimeNsec,
    mtimeNsec,
    ctimeNsec,
    mode,
    nlink,
    uid,
    gid,
    rdev,
    blksize,
    0,
  ]);
}

test("writeEntry fills struct fuse_entry_out and nothing beyond", () => {
  const out = view(ENTRY_OUT_BYTES);
  writeEntry(out, 8, { nodeId: 2 ** 40, generation: 7, validSeconds: 86_400 }, SOURCE);
  assert.equal(out.getBigUint64(8, true), 2n ** 40n);
  assert.equal(out.getBigUint64(16, true), 7n);
  assert.equal(out.getBigUint64(24, true), 86_400n);
  assert.equal(out.getBigUint64(32, true), 86_400n);
  assert.equal(out.getBigUint64(40, true), 0n);
  assertAttr(out, 48);
  assert.equal(out.getUint8(7), 0xee);
  assert.equal(out.getUint8(8 + ENTRY_OUT_BYTES), 0xee);
});

test("writeAttrOut fills struct fuse_attr_out and nothing beyond", () => {
  const out = view(ATTR_OUT_BYTES);
  writeAttrOut(out, 8, 5, SOURCE);
  assert.equal(out.getBigUint64(8, true), 5n);
  assertAttr(out, 24);
  assert.equal(out.getUint8(8 + ATTR_OUT_BYTES), 0xee);
});

test("writeNegativeEntry says: no node, and the kernel may remember that", () => {
  const out = view(ENTRY_OUT_BYTES);
  writeNegativeEntry(out, 8, 60);
  assert.equal(out.getBigUint64(8, true), 0n);
  assert.equal(out.getBigUint64(24, true), 60n);
  assert.equal(out.getUint8(8 + ENTRY_OUT_BYTES), 0xee);
});
