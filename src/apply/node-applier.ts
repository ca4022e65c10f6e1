/**
 * Applies what the source says of single nodes: attributes, data, and hashes to compare with. Each
 * record is exact at its LSN, and live ops between the records are applied as always, so that the
 * outcome is exact at the last one.
 */
import { equalBytes } from "../base/bytes.ts";
import { Purpose, purposeOf } from "../model/mirror-command.ts";
import { type MirrorNode, readMirrorNode } from "../model/mirror-record.ts";
import { type NodeTree, NodeFlag, TYPE_DIRECTORY, TYPE_REGULAR } from "../model/node-tree.ts";
import { TYPE_SYMLINK, TYPE_UNKNOWN } from "../model/node-tree.ts";
import { OP_FLAG_LAST, OpKind, type OpView } from "../model/op.ts";
import { blockHash } from "../platform/hash.ts";
import { cString, EMPTY_PATH, ftruncate, pread, readlinkat } from "../platform/libc.ts";
import {
  getInodeFlags,
  getProjectId,
  INODE_FLAGS_MASK,
  isEmptyDirectory,
  xattrValue,
} from "../platform/replica-files.ts";
import {
  makeInodeFlags,
  makeProjectId,
  makeXattrs,
  readXattrs,
  setMode,
  setNodeTimes,
  setOwner,
  setXattr,
  xattrsThatDiffer,
} from "./attributes.ts";
import type { ContentApplier } from "./content.ts";
import type { Disposal } from "./disposal.ts";
import type { MirrorEvents } from "./mirror-events.ts";
import type { NamespaceApplier } from "./namespace.ts";
import type { Removal } from "./removal.ts";
import type { Opened, Replica } from "./replica.ts";

type Ensured = "is there" | "new" | "failed" | "impossible";

const BLOCK_BYTES_MAX = 1 << 20;
const TARGET_BYTES_MAX = 4096;
const CAPABILITY = Buffer.from("security.capability");

export interface NodeParts {
  readonly replica: Replica;
  readonly namespace: NamespaceApplier;
  readonly content: ContentApplier;
  readonly disposal: Disposal;
  readonly removal: Removal;
  readonly events: MirrorEvents;
}

export class NodeApplier {
  readonly #replica: Replica;
  readonly #tree: NodeTree;
  readonly #namespace: NamespaceApplier;
  readonly #content: ContentApplier;
  readonly #disposal: Disposal;
  readonly #removal: Removal;
  readonly #events: MirrorEvents;
  readonly #block = Buffer.alloc(BLOCK_BYTES_MAX);

  constructor(parts: NodeParts) {
    this.#replica = parts.replica;
    this.#tree = parts.replica.tree;
    this.#namespace = parts.namespace;
    this.#content = parts.content;
    this.#disposal = parts.disposal;
    this.#removal = parts.removal;
    this.#events = parts.events;
  }

  apply(op: OpView): void {
    const node = this.#tree.find(op.mount, op.node);
    const isRight = this.#applyTo(op, node);
    if ((op.flags & OP_FLAG_LAST) === 0 && op.kind !== OpKind.mirrorMissing) return;
    const isWhole = isRight && node !== 0 && this.#tree.exists(node);
    this.#events.answered({ command: op.extra, node, isListing: false, isWhole });
  }

  /** False when the node could not be made or compared, and is to be asked for again. */
  #applyTo(op: OpView, node: number): boolean {
    if (op.kind === OpKind.mirrorMissing) return this.#missing(op, node);
    if (node === 0) return false;
    if (op.kind === OpKind.mirrorNode) return this.#node(op, node);
    if (this.#tree.has(node, NodeFlag.absent)) return false;
    if (op.kind === OpKind.verifyBlock) return this.#compareBlock(op, node);
    return this.#data(op, node);
  }

  #node(op: OpView, node: number): boolean {
    const tree = this.#tree;
    const type = op.mode >>> 12;
    const purpose = purposeOf(op.extra);
    if (tree.type(node) === TYPE_UNKNOWN) tree.change(() => tree.setType(node, type));
    if (tree.type(node) !== type) return this.#isAnother(node, purpose);
    const body = readMirrorNode(op);
    // What is compared is what the names lead to now, not what was once opened.
    if (purpose !== Purpose.bring) this.#replica.reopen(node);
    if (purpose === Purpose.compare) return this.#compare(op, node, body);
    if (body.links > 0) this.#removal.removeNameless(node);
    if (!tree.exists(node)) return false;
    tree.begin();
    tree.setFlags(node, NodeFlag.bringing);
    tree.clearFlags(node, NodeFlag.wantNode);
    tree.commit();
    if (purpose === Purpose.repair) this.#compare(op, node, body);
    const made = this.#ensure(op, node, body);
    if (made === "is there" || made === "new") this.#attributes(op, node, body, made === "new");
    return made !== "failed";
  }

  /** The number is another node's now. The directories that it was in are asked for again. */
  #isAnother(node: number, purpose: Purpose): boolean {
    this.#differs(node, "type");
    if (purpose === Purpose.compare) return true;
    this.#wantListings(node);
    this.#removal.evict(node);
    return false;
  }

  /** Sees to it that the node is on the replica with all its names. */
  #ensure(op: OpView, node: number, body: MirrorNode): Ensured {
    const tree = this.#tree;
    if (!tree.has(node, NodeFlag.absent)) {
      const opened = this.#replica.open(node);
      if (typeof opened !== "number") {
        const isSame = this.#hasItsTarget(node, opened, body) && this.#hasItsDevice(opened, body);
        const links = isSame ? this.#checkNames(node, opened) : false;
        if (links) this.#noteNumber(node, opened);
        this.#replica.close(node, opened);
        if (links) return "is there";
      } else this.#replica.refused(node, "open", -opened);
    }
    return this.#make(op, node, body);
  }

  /** Somebody may have put another inode in the place of the one that was made. */
  #noteNumber(node: number, opened: Opened): void {
    const { status } = this.#replica;
    if (status.of(opened.fd) === 0) this.#tree.setReplicaIno(node, status.ino);
  }

  #hasItsTarget(node: number, opened: Opened, body: MirrorNode): boolean {
    if (this.#tree.type(node) !== TYPE_SYMLINK) return true;
    const got = readlinkat(opened.fd, EMPTY_PATH, this.#block.subarray(0, TARGET_BYTES_MAX));
    return got >= 0 && equalBytes(this.#block.subarray(0, got), body.target);
  }

  #hasItsDevice(opened: Opened, body: MirrorNode): boolean {
    const { status } = this.#replica;
    if (!opened.isPathOnly) return true;
    return status.of(opened.fd) === 0 && status.rdev === body.rdev;
  }

  /** Every name must lead to this node, and no other name may. False: it is to be made anew. */
  #checkNames(node: number, opened: Opened): boolean {
    const tree = this.#tree;
    const { status } = this.#replica;
    if (tree.type(node) === TYPE_DIRECTORY) return true;
    if (status.of(opened.fd) < 0) return false;
    const { ino, nlink } = status;
    const first = tree.firstLink(node);
    let count = 0;
    for (let link = first; link !== 0; link = tree.nextLink(link)) count += 1;
    if (count === 1) return nlink === 1;
    const existing = this.#placeWith(node, ino);
    if (existing === undefined) return false;
    for (let link = first; link !== 0; link = tree.nextLink(link)) {
      const place = this.#placeOf(link);
      const dir = this.#replica.directory(place.directory);
      if (dir >= 0 && status.at(dir, cString(place.name)) === 0 && status.ino === ino) continue;
      this.#replica.keepTime(place.directory);
      const result = this.#namespace.makeLink(node, place, existing);
      if (result < 0) this.#replica.refused(node, "link", -result, true);
    }
    return status.of(opened.fd) === 0 && status.nlink === count;
  }

  #placeOf(link: number): { directory: number; name: Uint8Array } {
    return { directory: this.#tree.directoryOf(link), name: this.#tree.nameOf(link) };
  }

  /** A name under which the replica has this inode. */
  #placeWith(node: number, ino: number): { directory: number; name: Uint8Array } | undefined {
    const tree = this.#tree;
    const { status } = this.#replica;
    for (let link = tree.firstLink(node); link !== 0; link = tree.nextLink(link)) {
      const place = this.#placeOf(link);
      const dir = this.#replica.directory(place.directory);
      if (dir >= 0 && status.at(dir, cString(place.name)) === 0 && status.ino === ino) return place;
    }
    return undefined;
  }

  /** Makes the node with all its names. What is at their places goes. */
  #make(op: OpView, node: number, body: MirrorNode): Ensured {
    const tree = this.#tree;
    const replica = this.#replica;
    // The descriptor, if one is kept, is of what is replaced.
    replica.reopen(node);
    const first = tree.firstLink(node);
    if (first === 0) return "failed";
    const place = this.#placeOf(first);
    this.#keepTimeOf(place.directory);
    if (!tree.has(node, NodeFlag.absent)) this.#unmake(node);
    const { mode, uid, gid, mtimeSec, mtimeNsec } = op;
    const from = { mode, uid, gid, mtimeSec, mtimeNsec, rdev: body.rdev, target: body.target };
    const made = this.#namespace.make(node, place.directory, place.name, from);
    if (made < 0) {
      // What this file system cannot hold is not tried for ever; it stays marked as absent.
      return replica.refused(node, "create", -made) === "diverged" ? "failed" : "impossible";
    }
    for (let link = tree.nextLink(first); link !== 0; link = tree.nextLink(link)) {
      const other = this.#placeOf(link);
      this.#keepTimeOf(other.directory);
      const result = this.#namespace.makeLink(node, other, place);
      if (result < 0) replica.refused(node, "link", -result, true);
    }
    tree.change(() => tree.clearFlags(node, NodeFlag.absent | NodeFlag.wantNode));
    return "new";
  }

  #keepTimeOf(directory: number): void {
    if (!this.#tree.has(directory, NodeFlag.absent)) this.#replica.keepTime(directory);
  }

  /**
   * Takes away what is at the node's places: it shares its data with names that are not the node's,
   * or is no use.
   */
  #unmake(node: number): void {
    const tree = this.#tree;
    const root = this.#replica.root(tree.mount(node));
    for (let link = tree.firstLink(node); link !== 0; link = tree.nextLink(link)) {
      const place = this.#placeOf(link);
      const dir = this.#replica.directory(place.directory);
      this.#keepTimeOf(place.directory);
      if (dir >= 0) this.#disposal.remove(root, dir, cString(place.name));
    }
    // From here to the node's end of contents the replica has nothing to rely on.
    tree.change(() => tree.setFlags(node, NodeFlag.absent));
  }

  #attributes(op: OpView, node: number, body: MirrorNode, isFresh: boolean): void {
    const replica = this.#replica;
    const opened = replica.open(node);
    if (typeof opened === "number") {
      replica.refused(node, "open", -opened);
      return;
    }
    const check = (result: number, action: string) => {
      if (result < 0) replica.refused(node, action, -result, true);
    };
    if (!isFresh) this.#ownerAndMode(op, opened, check);
    this.#noteCapability(node, body);
    if (!isFresh || body.xattrs.length > 0) {
      makeXattrs(opened, body.xattrs, (name, errno) =>
        replica.refused(node, `set ${name}`, errno, true),
      );
    }
    const isRegular = this.#tree.type(node) === TYPE_REGULAR;
    // The blocks of a file that is brought whole give it its size.
    const isBrought = isFresh && purposeOf(op.extra) === Purpose.bring;
    if (isRegular && !isBrought) this.#size(node, opened, body.size, check);
    this.#times(op, node, body, opened, isBrought);
    check(this.#inodeFlags(node, opened, body.inodeFlags, isFresh), "set inode flags");
    check(makeProjectId(opened, body.projectId), "set the project id");
    replica.close(node, opened);
  }

  /** What is being brought gets its times when its data is there. */
  #times(op: OpView, node: number, body: MirrorNode, opened: Opened, isBrought: boolean): void {
    const { pending } = this.#replica;
    const atime = { sec: body.atimeSec, nsec: body.atimeNsec };
    const mtime = { sec: op.mtimeSec, nsec: op.mtimeNsec };
    const isLast = (op.flags & OP_FLAG_LAST) !== 0;
    if (isLast) pending.drop(node);
    else {
      pending.set(node, mtime.sec, mtime.nsec);
      if (isBrought) {
        pending.setAtime(node, atime.sec, atime.nsec);
        return;
      }
      pending.dropAtime(node);
    }
    const result = setNodeTimes(opened, atime, isLast ? mtime : undefined);
    if (result < 0) this.#replica.refused(node, "set times", -result, true);
  }

  /** A fresh file has none. */
  #inodeFlags(node: number, opened: Opened, flags: number, isFresh: boolean): number {
    const isFile = this.#tree.type(node) === TYPE_REGULAR;
    if (isFresh && isFile && (flags & INODE_FLAGS_MASK) === 0) return 0;
    this.#replica.inheritanceChanged(node);
    return makeInodeFlags(opened, flags);
  }

  #ownerAndMode(op: OpView, opened: Opened, check: (result: number, action: string) => void): void {
    const { status } = this.#replica;
    if (status.of(opened.fd) < 0) return;
    const { mode } = status;
    const chowns = status.uid !== op.uid || status.gid !== op.gid;
    if (chowns) check(setOwner(opened, op.uid, op.gid), "change the owner");
    if (chowns || mode !== op.mode) check(setMode(opened, op.mode), "change the mode");
  }

  #size(
    node: number,
    opened: Opened,
    size: number,
    check: (result: number, action: string) => void,
  ): void {
    const { status } = this.#replica;
    if (status.of(opened.fd) < 0 || status.size === size) return;
    const { fd } = opened;
    check(
      this.#replica.withFlagsOff(node, fd, () => ftruncate(fd, size)),
      "truncate",
    );
  }

  #noteCapability(node: number, body: MirrorNode): void {
    const tree = this.#tree;
    const has = body.xattrs.some(({ name }) => equalBytes(name, CAPABILITY));
    if (has === tree.has(node, NodeFlag.capability)) return;
    tree.change(() => {
      if (has) tree.setFlags(node, NodeFlag.capability);
      else tree.clearFlags(node, NodeFlag.capability);
    });
  }

  /** A block or a hole. */
  #data(op: OpView, node: number): boolean {
    const replica = this.#replica;
    const fd = replica.file(node);
    if (fd < 0) {
      replica.refused(node, "open for writing", -fd);
      return false;
    }
    replica.keepTime(node);
    const capability = this.#tree.has(node, NodeFlag.capability)
      ? xattrValue(fd, CAPABILITY, false)
      : undefined;
    const result =
      op.kind === OpKind.mirrorBlock ? this.#content.writeData(op, fd, node) : this.#hole(op, fd);
    if (capability !== undefined) setXattr({ fd, isPathOnly: false }, CAPABILITY, capability);
    if (result < 0) replica.refused(node, "write", -result, true);
    this.#events.contents(op.length);
    return result >= 0;
  }

  #hole(op: OpView, fd: number): number {
    const { status } = this.#replica;
    const { length, offset } = op;
    if (length === 0) return 0;
    const known = status.of(fd);
    if (known < 0) return known;
    const { size } = status;
    if (offset < size) {
      const punched = this.#content.punch(fd, offset, length);
      if (punched < 0) return punched;
    }
    return offset + length > size ? ftruncate(fd, offset + length) : 0;
  }

  #compareBlock(op: OpView, node: number): boolean {
    const replica = this.#replica;
    const { offset, length } = op;
    this.#events.contents(length);
    if (length === 0) return true;
    const fd = replica.file(node);
    if (fd < 0) {
      if (purposeOf(op.extra) !== Purpose.compare) replica.refused(node, "open", -fd);
      else this.#differs(node, "missing");
      return false;
    }
    const got = pread(fd, this.#block, Math.min(length, BLOCK_BYTES_MAX), offset);
    const wanted = op.bytes.subarray(op.body(0), op.body(16));
    const isEqual = got === length && equalBytes(blockHash(this.#block.subarray(0, got)), wanted);
    if (isEqual) return true;
    this.#events.blockDiffers(node, offset, length);
    return true;
  }

  /** Notes every attribute that differs. False: the node is missing. */
  #compare(op: OpView, node: number, body: MirrorNode): boolean {
    const replica = this.#replica;
    if (this.#tree.has(node, NodeFlag.absent)) {
      // Not brought yet is no difference: nobody said that it was there.
      return false;
    }
    replica.pending.flush(node);
    const opened = replica.open(node);
    if (typeof opened === "number") {
      this.#differs(node, "missing");
      return false;
    }
    for (const what of this.#differences(op, node, opened, body)) this.#differs(node, what);
    replica.close(node, opened);
    return true;
  }

  #differences(op: OpView, node: number, opened: Opened, body: MirrorNode): string[] {
    const { status } = this.#replica;
    const tree = this.#tree;
    const result: string[] = [];
    if (status.of(opened.fd) < 0) return ["missing"];
    const type = tree.type(node);
    if (status.mode !== op.mode) result.push("mode");
    if (status.uid !== op.uid || status.gid !== op.gid) result.push("owner");
    const sameTime = status.mtimeSec === op.mtimeSec && status.mtimeNsec === op.mtimeNsec;
    if (!sameTime) result.push("mtime");
    if (type === TYPE_REGULAR && status.size !== body.size) result.push("size");
    if (type !== TYPE_DIRECTORY && !this.#hasItsLinks(node, status.nlink)) result.push("links");
    if (opened.isPathOnly && status.rdev !== body.rdev) result.push("device");
    if (!this.#hasItsTarget(node, opened, body)) result.push("target");
    for (const name of xattrsThatDiffer(body.xattrs, readXattrs(opened))) {
      result.push(`xattr ${name}`);
    }
    if (!opened.isPathOnly) {
      const flags = getInodeFlags(opened.fd);
      if (flags >= 0 && ((flags ^ body.inodeFlags) & INODE_FLAGS_MASK) !== 0) result.push("flags");
      const projectId = body.projectId === 0 ? 0 : getProjectId(opened.fd);
      if (projectId !== body.projectId) result.push("project id");
    }
    return result;
  }

  /** What was removed with its directory may be in the trash, and count as a link until later. */
  #hasItsLinks(node: number, links: number): boolean {
    const expected = this.#tree.linksOf(node);
    if (links <= expected) return links === expected;
    const { trashFd } = this.#replica.root(this.#tree.mount(node));
    return !isEmptyDirectory(trashFd);
  }

  #missing(op: OpView, node: number): boolean {
    const errno = op.length;
    const isGone = errno === ENOENT || errno === ESTALE || errno === ENOTDIR;
    if (node === 0) return false;
    // The question was about a directory that had the number before.
    if (errno === ENOTDIR && this.#tree.type(node) !== TYPE_DIRECTORY) return false;
    const compares = purposeOf(op.extra) === Purpose.compare;
    if (!isGone) {
      // Not copied is not protected: it stays wanted, and is tried again now and then.
      this.#events.unreadable(node, errno);
      if (compares) this.#differs(node, "unreadable");
      else this.#replica.want(node, true);
      return compares;
    }
    // The stream has not told us: the name is stale.
    if (compares) {
      this.#differs(node, "extra");
      return true;
    }
    this.#removal.removeNameless(node);
    if (!this.#tree.exists(node)) return false;
    this.#wantListings(node);
    return true;
  }

  /** Of the directories that the node has names in. */
  #wantListings(node: number): void {
    const tree = this.#tree;
    const home = tree.privateDirectory(tree.mount(node));
    tree.change(() => {
      for (let link = tree.firstLink(node); link !== 0; link = tree.nextLink(link)) {
        const directory = tree.directoryOf(link);
        if (directory !== home) tree.setFlags(directory, NodeFlag.wantListing);
      }
    });
  }

  #differs(node: number, what: string): void {
    const path = this.#tree.path(node) ?? new Uint8Array(0);
    this.#events.differs({ node, path, what });
  }
}

const ENOENT = 2;
const ENOTDIR = 20;
const ESTALE = 116;
