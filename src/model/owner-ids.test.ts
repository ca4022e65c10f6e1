import assert from "node:assert/strict";
import { test } from "node:test";

import {
  appendDirectoryEntry,
  type DirectoryEntry,
  readDirectoryEntries,
  readMirrorNode,
  startMirrorDirectory,
  writeMirrorNode,
} from "./mirror-record.ts";
import { OP_HEADER_BYTES, OpKind, OpView } from "./op.ts";
import { changeOwners, type OwnerKind } from "./owner-ids.ts";

const text = new TextEncoder();
const ACCESS = text.encode("system.posix_acl_access");

/** At an odd place of a larger buffer, as in a ring. */
function opOf(kind: OpKind, uid: number, gid: number): OpView {
  const op = new OpView(new ArrayBuffer(8192)).at(256);
  op.start(kind, 0, 7);
  op.uid = uid;
  op.gid = gid;
  return op;
}

/** Tag, permissions and id of each entry. */
function aclOf(...entries: readonly (readonly [number, number, number])[]): Uint8Array {
  const bytes = new Uint8Array(4 + 8 * entries.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 2, true);
  for (const [i, [tag, permissions, id]] of entries.entries()) {
    view.setUint16(4 + 8 * i, tag, true);
    view.setUint16(6 + 8 * i, permissions, true);
    view.setUint32(8 + 8 * i, id, true);
  }
  return bytes;
}

const NOBODY = 0xffffffff;
const ACL = aclOf([1, 6, NOBODY], [2, 6, 1001], [4, 4, NOBODY], [8, 4, 1002], [16, 6, NOBODY]);
const CHANGED = aclOf([1, 6, NOBODY], [2, 6, 2001], [4, 4, NOBODY], [8, 4, 3002], [16, 6, NOBODY]);

function change(kind: OwnerKind, id: number): number {
  return id + (kind === "user" ? 1000 : 2000);
}

/** What is visited, and that a change which changes nothing writes nothing. */
function seen(op: OpView): string[] {
  const found: string[] = [];
  const before = op.bytes.slice();
  changeOwners(op, (kind, id) => {
    found.push(`${kind} ${id}`);
    return id;
  });
  assert.deepEqual(op.bytes, before);
  return found;
}

test("an op's own user and group are changed", () => {
  const op = opOf(OpKind.setattr, 1, 2);
  assert.deepEqual(seen(op), ["user 1", "group 2"]);
  changeOwners(op, change);
  assert.deepEqual([op.uid, op.gid], [1001, 2002]);
});

test("the owners of all entries of a listing are changed, and nothing else", () => {
  const op = opOf(OpKind.mirrorDirectory, 1, 2);
  startMirrorDirectory(op);
  const entry = (name: string, uid: number): DirectoryEntry => ({
    ...{ ino: 9, size: 5, mtimeSec: 1, mtimeNsec: 2, mode: 0o100644, uid, gid: uid, links: 1 },
    ...{ rdev: 0, name: text.encode(name), target: new Uint8Array(0) },
  });
  const entries = [entry("a", 3), entry("longer name", 4)];
  for (const each of entries) appendDirectoryEntry(op, each);
  assert.deepEqual(seen(op).slice(2), ["user 3", "group 3", "user 4", "group 4"]);
  changeOwners(op, change);
  const expected = entries.map((each) => ({ ...each, uid: each.uid + 1000, gid: each.gid + 2000 }));
  assert.deepEqual(readDirectoryEntries(op), expected);
});

test("users and groups within ACLs are changed, in mirrored nodes and in changes", () => {
  const op = opOf(OpKind.mirrorNode, 1, 2);
  const other = { name: text.encode("user.posix_acl_x"), value: ACL };
  writeMirrorNode(op, {
    ...{ size: 0, atimeSec: 0, atimeNsec: 0, rdev: 0, links: 1, inodeFlags: 0, projectId: 0 },
    ...{ target: new Uint8Array(0), xattrs: [other, { name: ACCESS, value: ACL }] },
  });
  assert.deepEqual(seen(op), ["user 1", "group 2", "user 1001", "group 1002"]);
  changeOwners(op, change);
  assert.deepEqual(readMirrorNode(op).xattrs, [other, { name: ACCESS, value: CHANGED }]);

  const set = opOf(OpKind.setxattr, 1, 2);
  set.length1 = ACCESS.length;
  set.length2 = ACL.length;
  set.bytes.set(ACCESS, set.body(0));
  set.bytes.set(ACL, set.body(ACCESS.length));
  set.size = OP_HEADER_BYTES + ACCESS.length + ACL.length;
  changeOwners(set, change);
  assert.deepEqual(set.name2, CHANGED);
});

test("what is no ACL of a known form is left as it is", () => {
  for (const value of [new Uint8Array(0), new Uint8Array([3, 0, 0, 0]), ACL.subarray(0, 3)]) {
    const set = opOf(OpKind.setxattr, 1, 2);
    set.length1 = ACCESS.length;
    set.length2 = value.length;
    set.bytes.set(ACCESS, set.body(0));
    set.bytes.set(value, set.body(ACCESS.length));
    set.size = OP_HEADER_BYTES + ACCESS.length + value.length;
    assert.deepEqual(seen(set), ["user 1", "group 2"]);
  }
});
