/**
 * All numbers of users and groups that an op carries: of the node, of the entries of a listing, and
 * within POSIX ACLs. Where they stand is known here alone, to who reads them and who changes them.
 */
import { equalBytes } from "../base/bytes.ts";
import { directoryEntryPlaces, ENTRY_UID_AT, xattrsInPlace } from "./mirror-record.ts";
import { OpKind, type OpView } from "./op.ts";

export type OwnerKind = "user" | "group";

/** What becomes of a number. */
export type OwnerChange = (kind: OwnerKind, id: number) => number;

const HEADER_UID_AT = 56;
const ACL_PREFIX: Uint8Array = new TextEncoder().encode("system.posix_acl_");
const ACL_VERSION = 2;
const ACL_HEADER_BYTES = 4;
const ACL_ENTRY_BYTES = 8;
const ACL_USER = 0x02;
const ACL_GROUP = 0x08;

/**
 * Calls `change` with each number and writes what it returns in its place. Nothing is written where
 * nothing changes. @throws {MirrorRecordError} when lengths inside the body do not fit it
 */
export function changeOwners(op: OpView, change: OwnerChange): void {
  const { view } = op;
  changePair(view, op.base + HEADER_UID_AT, change);
  if (op.kind === OpKind.mirrorDirectory) {
    for (const at of directoryEntryPlaces(op)) changePair(view, at + ENTRY_UID_AT, change);
  } else if (op.kind === OpKind.mirrorNode) {
    for (const { name, value } of xattrsInPlace(op)) if (isAcl(name)) changeAcl(value, change);
  } else if (op.kind === OpKind.setxattr && isAcl(op.name)) changeAcl(op.name2, change);
}

function changePair(view: DataView, at: number, change: OwnerChange): void {
  changeAt(view, at, "user", change);
  changeAt(view, at + 4, "group", change);
}

function changeAt(view: DataView, at: number, kind: OwnerKind, change: OwnerChange): void {
  const id = view.getUint32(at, true);
  const changed = change(kind, id);
  if (changed !== id) view.setUint32(at, changed, true);
}

function isAcl(name: Uint8Array): boolean {
  return equalBytes(name.subarray(0, ACL_PREFIX.length), ACL_PREFIX);
}

/** As the kernel has it: u32 version, then u16 tag, u16 permissions and u32 id of each entry. */
function changeAcl(value: Uint8Array, change: OwnerChange): void {
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  if (value.length < ACL_HEADER_BYTES || view.getUint32(0, true) !== ACL_VERSION) return;
  const last = value.length - ACL_ENTRY_BYTES;
  for (let at = ACL_HEADER_BYTES; at <= last; at += ACL_ENTRY_BYTES) {
    const tag = view.getUint16(at, true);
    if (tag === ACL_USER) changeAt(view, at + 4, "user", change);
    if (tag === ACL_GROUP) changeAt(view, at + 4, "group", change);
  }
}
