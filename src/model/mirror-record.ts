/**
 * Bodies of the two op kinds by which a mirror, a resync and a verify describe what the source
 * holds.
 *
 * `mirror-node` (attributes and extended attributes of one node, exact at its LSN; the header has
 * mode, uid, gid, mtime and extra=command):
 *
 *     u64 size, time atime, u64 rdev, u32 links, u32 inode flags (FS_IOC_GETFLAGS), u32 project id,
 *     u32 target length, u32 xattr bytes, u32 zero, symlink target, xattrs
 *     xattrs: u32 name length, u32 value length, name, value, repeated
 *
 * `mirror-directory` (part of the exact listing of one directory; header as above, for the
 * directory itself; OP_FLAG_FIRST and OP_FLAG_LAST mark the ends of the listing):
 *
 *     u32 entries, u32 zero
 *     entries: u64 ino, u64 size, time mtime, u32 mode, u32 uid, u32 gid, u32 links, u64 rdev,
 *              u32 name length, u32 target length, name, symlink target, padded to 8
 */
import { alignUp, readI64, readU64, writeI64, writeU64 } from "../base/bytes.ts";
import { OP_HEADER_BYTES, OpKind, type OpView, validEntryName, validXattrName } from "./op.ts";

export const MIRROR_NODE_BYTES = 64;
export const MIRROR_DIRECTORY_BYTES = 8;
const ENTRY_BYTES = 64;

export interface Xattr {
  readonly name: Uint8Array;
  readonly value: Uint8Array;
}

export interface MirrorNode {
  readonly size: number;
  readonly atimeSec: number;
  readonly atimeNsec: number;
  readonly rdev: number;
  readonly links: number;
  readonly inodeFlags: number;
  readonly projectId: number;
  readonly target: Uint8Array;
  readonly xattrs: readonly Xattr[];
}

export interface DirectoryEntry {
  readonly ino: number;
  readonly size: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  readonly rdev: number;
  readonly name: Uint8Array;
  readonly target: Uint8Array;
}

export class MirrorRecordError extends Error {
  override name = "MirrorRecordError";
}

/** Bytes of the body that {@link writeMirrorNode} will write. */
export function mirrorNodeBytes(node: MirrorNode): number {
  let bytes = MIRROR_NODE_BYTES + node.target.length;
  for (const xattr of node.xattrs) bytes += 8 + xattr.name.length + xattr.value.length;
  return bytes;
}

/** Writes the body behind the header that is already there, and sets the record's size. */
export function writeMirrorNode(op: OpView, node: MirrorNode): void {
  const { view, bytes } = op;
  const start = op.body(0);
  writeU64(view, start, node.size);
  op.setTime(8, node.atimeSec, node.atimeNsec);
  writeU64(view, start + 24, node.rdev);
  view.setUint32(start + 32, node.links, true);
  view.setUint32(start + 36, node.inodeFlags, true);
  view.setUint32(start + 40, node.projectId, true);
  view.setUint32(start + 44, node.target.length, true);
  view.setUint32(start + 52, 0, true);
  writeU64(view, start + 56, 0);
  let at = start + MIRROR_NODE_BYTES;
  bytes.set(node.target, at);
  at += node.target.length;
  const xattrsAt = at;
  for (const { name, value } of node.xattrs) {
    view.setUint32(at, name.length, true);
    view.setUint32(at + 4, value.length, true);
    bytes.set(name, at + 8);
    bytes.set(value, at + 8 + name.length);
    at += 8 + name.length + value.length;
  }
  view.setUint32(start + 48, at - xattrsAt, true);
  op.size = at - op.base;
}

/**
 * @throws {MirrorRecordError} when lengths inside the body do not fit it. Names and values are
 * copies.
 */
export function readMirrorNode(op: OpView): MirrorNode {
  const { view } = op;
  const start = op.body(0);
  if (start + MIRROR_NODE_BYTES > op.base + op.size) {
    throw new MirrorRecordError("mirror-node is cut");
  }
  const targetLength = view.getUint32(start + 44, true);
  const targetAt = start + MIRROR_NODE_BYTES;
  const xattrs = [...xattrsInPlace(op)].map(({ name, value }) => {
    return { name: name.slice(), value: value.slice() };
  });
  return {
    size: readU64(view, start),
    atimeSec: op.timeSec(8),
    atimeNsec: op.timeNsec(8),
    rdev: readU64(view, start + 24),
    links: view.getUint32(start + 32, true),
    inodeFlags: view.getUint32(start + 36, true),
    projectId: view.getUint32(start + 40, true),
    target: op.bytes.slice(targetAt, targetAt + targetLength),
    xattrs,
  };
}

/**
 * The extended attributes of a `mirror-node`, where they stand: views, not copies. @throws
 * {MirrorRecordError}
 */
export function* xattrsInPlace(op: OpView): Generator<Xattr> {
  const { view, bytes } = op;
  const lengths = op.body(0);
  const recordEnd = op.base + op.size;
  if (lengths + MIRROR_NODE_BYTES > recordEnd) throw new MirrorRecordError("mirror-node is cut");
  let at = lengths + MIRROR_NODE_BYTES + view.getUint32(lengths + 44, true);
  const end = at + view.getUint32(lengths + 48, true);
  if (end > recordEnd) throw new MirrorRecordError("mirror-node has parts beyond its end");
  while (at < end) {
    if (at + 8 > end) throw new MirrorRecordError("mirror-node has a cut xattr");
    const nameEnd = at + 8 + view.getUint32(at, true);
    const valueEnd = nameEnd + view.getUint32(at + 4, true);
    if (valueEnd > end) throw new MirrorRecordError("mirror-node has an xattr beyond its end");
    yield { name: bytes.subarray(at + 8, nameEnd), value: bytes.subarray(nameEnd, valueEnd) };
    at = valueEnd;
  }
}

/** Bytes that the entry takes in a `mirror-directory` body. */
export function directoryEntryBytes(nameLength: number, targetLength: number): number {
  return alignUp(ENTRY_BYTES + 8 + nameLength + targetLength, 8);
}

/** Starts an empty listing behind the header; add entries with {@link appendDirectoryEntry}. */
export function startMirrorDirectory(op: OpView): void {
  writeU64(op.view, op.body(0), 0);
  op.size = OP_HEADER_BYTES + MIRROR_DIRECTORY_BYTES;
}

export function appendDirectoryEntry(op: OpView, entry: DirectoryEntry): void {
  const { view, bytes } = op;
  const at = op.base + op.size;
  writeU64(view, at, entry.ino);
  writeU64(view, at + 8, entry.size);
  writeI64(view, at + 16, entry.mtimeSec);
  view.setUint32(at + 24, entry.mtimeNsec, true);
  view.setUint32(at + 28, 0, true);
  view.setUint32(at + 32, entry.mode, true);
  view.setUint32(at + 36, entry.uid, true);
  view.setUint32(at + 40, entry.gid, true);
  view.setUint32(at + 44, entry.links, true);
  writeU64(view, at + 48, entry.rdev);
  view.setUint32(at + 56, entry.name.length, true);
  view.setUint32(at + 60, entry.target.length, true);
  writeU64(view, at + 64, 0);
  bytes.set(entry.name, at + ENTRY_BYTES + 8);
  bytes.set(entry.target, at + ENTRY_BYTES + 8 + entry.name.length);
  op.size += directoryEntryBytes(entry.name.length, entry.target.length);
  view.setUint32(op.body(0), view.getUint32(op.body(0), true) + 1, true);
}

/**
 * Copies of the entries. @throws {MirrorRecordError} when lengths inside the body do not fit it.
 */
export function readDirectoryEntries(op: OpView): DirectoryEntry[] {
  const { view, bytes } = op;
  const entries: DirectoryEntry[] = [];
  for (const at of directoryEntryPlaces(op)) {
    const nameAt = at + ENTRY_BYTES + 8;
    const nameLength = view.getUint32(at + 56, true);
    const targetLength = view.getUint32(at + 60, true);
    entries.push({
      ino: readU64(view, at),
      size: readU64(view, at + 8),
      mtimeSec: readI64(view, at + 16),
      mtimeNsec: view.getUint32(at + 24, true),
      mode: view.getUint32(at + 32, true),
      uid: view.getUint32(at + 36, true),
      gid: view.getUint32(at + 40, true),
      links: view.getUint32(at + 44, true),
      rdev: readU64(view, at + 48),
      name: bytes.slice(nameAt, nameAt + nameLength),
      target: bytes.slice(nameAt + nameLength, nameAt + nameLength + targetLength),
    });
  }
  return entries;
}

/** Within an entry; the group's number follows. */
export const ENTRY_UID_AT = 36;

/** Where each entry of a listing begins. @throws {MirrorRecordError} */
export function* directoryEntryPlaces(op: OpView): Generator<number> {
  const { view } = op;
  const end = op.base + op.size;
  if (op.body(MIRROR_DIRECTORY_BYTES) > end) throw new MirrorRecordError("mirror-directory is cut");
  const count = view.getUint32(op.body(0), true);
  let at = op.body(MIRROR_DIRECTORY_BYTES);
  for (let i = 0; i < count; i++) {
    if (at + ENTRY_BYTES + 8 > end) throw new MirrorRecordError("mirror-directory has a cut entry");
    const nameLength = view.getUint32(at + 56, true);
    const next = at + directoryEntryBytes(nameLength, view.getUint32(at + 60, true));
    if (next > end) throw new MirrorRecordError("mirror-directory has an entry beyond its end");
    yield at;
    at = next;
  }
}

/**
 * What is wrong with the body of a `mirror-node` or a `mirror-directory`, or undefined; undefined
 * for other kinds. Who applies a listing makes its names as they stand there.
 */
export function mirrorProblem(op: OpView): string | undefined {
  try {
    if (op.kind === OpKind.mirrorDirectory) return listingProblem(op);
    if (op.kind === OpKind.mirrorNode) return nodeProblem(op);
    return undefined;
  } catch (error) {
    if (error instanceof MirrorRecordError) return error.message;
    throw error;
  }
}

function listingProblem(op: OpView): string | undefined {
  const { view, bytes } = op;
  for (const at of directoryEntryPlaces(op)) {
    const nameAt = at + ENTRY_BYTES + 8;
    const targetAt = nameAt + view.getUint32(at + 56, true);
    if (!validEntryName(bytes.subarray(nameAt, targetAt))) {
      return "mirror-directory has a forbidden name";
    }
    const target = bytes.subarray(targetAt, targetAt + view.getUint32(at + 60, true));
    if (target.includes(0)) return "mirror-directory has a forbidden target";
  }
  return undefined;
}

function nodeProblem(op: OpView): string | undefined {
  const { view, bytes } = op;
  for (const { name } of xattrsInPlace(op)) {
    if (!validXattrName(name)) return "mirror-node has an xattr with a forbidden name";
  }
  const targetAt = op.body(MIRROR_NODE_BYTES);
  const target = bytes.subarray(targetAt, targetAt + view.getUint32(op.body(44), true));
  return target.includes(0) ? "mirror-node has a forbidden target" : undefined;
}
