/**
 * Applies a directory's listing: makes the tree's and the replica's names those of the source.
 *
 * A listing comes in parts, each exact at its LSN, with live ops between them. Each name that a
 * part shows is marked with the number of the listing, and so is each that a live op adds; at the
 * end, names that are not marked are not on the source, and names that only the replica has are
 * orphans.
 *
 * Every step leaves replica and tree such that applying the part again completes it.
 */
import {
  type NodeTree,
  NodeFlag,
  TYPE_DIRECTORY,
  TYPE_UNKNOWN,
  WANT_ALL,
} from "../model/node-tree.ts";
import { TYPE_REGULAR } from "../model/node-tree.ts";
import { type DirectoryEntry, readDirectoryEntries } from "../model/mirror-record.ts";
import { Purpose, purposeOf } from "../model/mirror-command.ts";
import { OP_FLAG_FIRST, OP_FLAG_LAST, type OpView } from "../model/op.ts";
import type { Rules } from "../model/rules.ts";
import { wantListings } from "../model/subtree.ts";
import { cString } from "../platform/libc.ts";
import { isEmptyDirectory, readDirectory } from "../platform/replica-files.ts";
import { PERMISSIONS, setMode, setOwner } from "./attributes.ts";
import type { Disposal } from "./disposal.ts";
import type { MirrorEvents } from "./mirror-events.ts";
import type { NamespaceApplier } from "./namespace.ts";
import { INSIDE_NAME } from "./private-area.ts";
import type { Removal } from "./removal.ts";
import type { Replica } from "./replica.ts";

const INSIDE = Buffer.from(INSIDE_NAME);
const NOTHING = new Uint8Array(0);

export interface ListingParts {
  readonly replica: Replica;
  readonly rules: Rules;
  readonly namespace: NamespaceApplier;
  readonly disposal: Disposal;
  readonly removal: Removal;
  readonly events: MirrorEvents;
}

export class ListingApplier {
  readonly #replica: Replica;
  readonly #tree: NodeTree;
  readonly #rules: Rules;
  readonly #namespace: NamespaceApplier;
  readonly #disposal: Disposal;
  readonly #removal: Removal;
  readonly #events: MirrorEvents;
  pass = 0;
  /** The directory that was begun last, if the replica had nothing in it; else 0. */
  #empty = 0;

  constructor(parts: ListingParts) {
    this.#replica = parts.replica;
    this.#tree = parts.replica.tree;
    this.#rules = parts.rules;
    this.#namespace = parts.namespace;
    this.#disposal = parts.disposal;
    this.#removal = parts.removal;
    this.#events = parts.events;
  }

  apply(op: OpView): void {
    const tree = this.#tree;
    const directory = tree.find(op.mount, op.node);
    const isLast = (op.flags & OP_FLAG_LAST) !== 0;
    if (directory === 0 || tree.type(directory) !== TYPE_DIRECTORY) {
      if (isLast) this.#answer(op, 0, false);
      return;
    }
    const repairs = purposeOf(op.extra) !== Purpose.compare;
    if ((op.flags & OP_FLAG_FIRST) !== 0) this.#start(op, directory, repairs);
    const dir = this.#replica.directory(directory);
    if (dir < 0) {
      if (repairs) this.#replica.refused(directory, "open the directory", -dir);
      else this.#differs(directory, NOTHING, "missing");
      if (isLast) this.#answer(op, directory, false);
      return;
    }
    if (repairs) this.#replica.pending.set(directory, op.mtimeSec, op.mtimeNsec);
    if ((op.flags & OP_FLAG_FIRST) !== 0) this.#empty = isEmptyDirectory(dir) ? directory : 0;
    for (const entry of readDirectoryEntries(op)) this.#entry(directory, dir, entry, repairs);
    if (!isLast) return;
    this.#finish(directory, repairs);
    this.#answer(op, directory, true);
  }

  #answer(op: OpView, node: number, isWhole: boolean): void {
    this.#events.answered({ command: op.extra, node, isListing: true, isWhole });
  }

  #start(op: OpView, directory: number, repairs: boolean): void {
    const tree = this.#tree;
    tree.begin();
    tree.startListing(directory);
    if (repairs) {
      tree.setFlags(directory, NodeFlag.listing);
      tree.clearFlags(directory, NodeFlag.wantListing);
    }
    tree.commit();
    // The descriptor may be of a directory that somebody has moved; this one is opened by its path.
    this.#replica.reopen(directory);
    if (!repairs) return;
    if (tree.has(directory, NodeFlag.absent)) this.#bring(op, directory);
    const opened = this.#replica.open(directory);
    if (typeof opened === "number") return;
    const { status } = this.#replica;
    if (status.of(opened.fd) < 0) return;
    const { mode } = status;
    if (status.uid !== op.uid || status.gid !== op.gid) setOwner(opened, op.uid, op.gid);
    if ((mode & PERMISSIONS) !== (op.mode & PERMISSIONS)) setMode(opened, op.mode);
  }

  /** The directory is missing on the replica, and its listing has come before its attributes. */
  #bring(op: OpView, directory: number): void {
    const tree = this.#tree;
    const link = tree.firstLink(directory);
    if (link === 0) return;
    const parent = tree.directoryOf(link);
    if (!tree.has(parent, NodeFlag.absent)) this.#replica.keepTime(parent);
    const made = this.#namespace.make(directory, tree.directoryOf(link), tree.nameOf(link), {
      ...attributesOf(op),
      rdev: 0,
      target: NOTHING,
    });
    if (made < 0) {
      this.#replica.refused(directory, "create", -made);
      return;
    }
    tree.change(() => tree.clearFlags(directory, NodeFlag.absent));
  }

  #entry(directory: number, dir: number, entry: DirectoryEntry, repairs: boolean): void {
    const tree = this.#tree;
    const mount = tree.mount(directory);
    const type = entry.mode >>> 12;
    if (this.#isIgnored(directory, entry.name, type === TYPE_DIRECTORY)) return;
    const link = tree.lookup(directory, entry.name);
    const node = tree.find(mount, entry.ino);
    const isKnown = link !== 0 && node !== 0 && tree.nodeOf(link) === node;
    if (isKnown && (tree.type(node) === type || tree.type(node) === TYPE_UNKNOWN)) {
      this.#seen(link, node, type);
    } else if (repairs) this.#newName(directory, dir, entry);
    else this.#differs(directory, entry.name, "missing");
    const shown = tree.lookup(directory, entry.name);
    if (shown === 0) return;
    const isFirstName = tree.firstLink(tree.nodeOf(shown)) === shown;
    this.#events.counted(type === TYPE_REGULAR && isFirstName ? entry.size : 0);
  }

  /** Names that mirror and verify do not see, on either side. */
  #isIgnored(directory: number, name: Uint8Array, isDirectory: boolean): boolean {
    const tree = this.#tree;
    const mount = tree.mount(directory);
    const isInRoot = directory === tree.root(mount);
    if (isInRoot && this.#replica.root(mount).isInside && INSIDE.equals(name)) return true;
    if (this.#rules.isEmpty) return false;
    return this.#rules.excludes(this.#pathOf(directory, name), isDirectory);
  }

  #pathOf(directory: number, name: Uint8Array): Uint8Array {
    const path = this.#tree.path(directory) ?? NOTHING;
    if (path.length === 0) return name;
    return name.length === 0 ? path : Buffer.concat([path, Buffer.from("/"), name]);
  }

  #seen(link: number, node: number, type: number): void {
    const tree = this.#tree;
    tree.begin();
    tree.markSeen(link);
    if (tree.type(node) === TYPE_UNKNOWN) tree.setType(node, type);
    tree.commit();
  }

  #newName(directory: number, dir: number, entry: DirectoryEntry): void {
    const tree = this.#tree;
    const mount = tree.mount(directory);
    const type = entry.mode >>> 12;
    let node = tree.find(mount, entry.ino);
    const known = node === 0 ? TYPE_UNKNOWN : tree.type(node);
    if (known !== TYPE_UNKNOWN && known !== type) {
      // The source has given the number to another node meanwhile.
      this.#removal.evict(node);
      if (!tree.exists(directory)) return;
      node = 0;
    }
    const stale = tree.lookup(directory, entry.name);
    if (stale !== 0) this.#removal.detach(stale);
    if (node !== 0 && !tree.exists(node)) node = 0;
    if (node === 0) this.#newNode(directory, dir, entry);
    else if (type === TYPE_DIRECTORY) this.#moveHere(node, directory, entry.name);
    else this.#linkHere(node, directory, entry.name);
  }

  #newNode(directory: number, dir: number, entry: DirectoryEntry): void {
    const tree = this.#tree;
    const type = entry.mode >>> 12;
    const adopted = this.#adopts(directory, dir, entry);
    const isDirectory = type === TYPE_DIRECTORY;
    const flags = isDirectory ? WANT_ALL : NodeFlag.wantNode;
    const absent = adopted || isDirectory ? 0 : NodeFlag.absent;
    tree.begin();
    const node = tree.addNode(tree.mount(directory), entry.ino, type, flags | absent);
    tree.addLink(node, directory, entry.name);
    if (adopted) tree.setReplicaIno(node, this.#replica.status.ino);
    if (isDirectory && !adopted) {
      const made = this.#namespace.make(node, directory, entry.name, entry);
      if (made < 0) this.#replica.refused(node, "create", -made);
    }
    tree.commit();
  }

  /**
   * Whether the replica has an entry of the same type there, which can be made equal: then the
   * replica's `status` is of it. What is no use is cleared.
   */
  #adopts(directory: number, dir: number, entry: DirectoryEntry): boolean {
    if (this.#empty === directory) return false;
    const { status } = this.#replica;
    const name = cString(entry.name);
    if (status.at(dir, name) < 0) return false;
    const type = entry.mode >>> 12;
    const sameType = status.mode >>> 12 === type;
    if (sameType && (type !== TYPE_REGULAR || status.nlink === 1 || entry.links > 1)) return true;
    const root = this.#replica.root(this.#tree.mount(directory));
    this.#disposal.clear(root, dir, name, this.#pathOf(directory, entry.name));
    return false;
  }

  #moveHere(node: number, directory: number, name: Uint8Array): void {
    const tree = this.#tree;
    if (node === tree.root(tree.mount(node)) || node === directory) return;
    if (tree.isBelow(directory, node)) {
      this.#cutBetween(directory, node);
      if (!tree.exists(directory) || tree.isBelow(directory, node)) return;
    }
    // What it holds is judged by other paths then.
    if (this.#rules.dependOnPath) wantListings(tree, node);
    if (tree.has(node, NodeFlag.absent)) {
      tree.begin();
      tree.removeLink(tree.firstLink(node));
      tree.addLink(node, directory, name);
      tree.commit();
    } else this.#removal.moveDirectory(node, directory, name);
  }

  /**
   * Above and below have changed places: a link between them is wrong. It is the lowest that no
   * listing of this pass has shown; what it leads to waits for its own turn.
   */
  #cutBetween(directory: number, above: number): void {
    const tree = this.#tree;
    const first = tree.firstLink(directory);
    let link = first;
    while (this.#isShown(link) && tree.directoryOf(link) !== above) {
      link = tree.firstLink(tree.directoryOf(link));
    }
    if (this.#isShown(link)) {
      // The turn of each is over: the lowest would not come back without another.
      link = first;
      tree.change(() => tree.setFlags(tree.directoryOf(first), NodeFlag.wantListing));
    }
    this.#removal.detach(link);
  }

  #isShown(link: number): boolean {
    const tree = this.#tree;
    const parent = tree.directoryOf(link);
    return tree.listedIn(parent) === this.pass || tree.has(parent, NodeFlag.listing);
  }

  #linkHere(node: number, directory: number, name: Uint8Array): void {
    const tree = this.#tree;
    const existing = tree.firstLink(node);
    const waits = this.#removal.isDetached(node);
    if (!tree.has(node, NodeFlag.absent)) {
      const result = this.#namespace.makeLink(
        node,
        { directory, name },
        { directory: tree.directoryOf(existing), name: tree.nameOf(existing) },
      );
      if (result < 0) this.#replica.refused(node, "link", -result);
    }
    tree.begin();
    tree.addLink(node, directory, name);
    tree.setFlags(node, NodeFlag.wantNode);
    tree.commit();
    if (waits) this.#removal.removeName(existing);
  }

  #finish(directory: number, repairs: boolean): void {
    const tree = this.#tree;
    const unseen: number[] = [];
    const listing = tree.listing(directory);
    for (let link = tree.firstChild(directory); link !== 0; link = tree.nextSibling(link)) {
      if (tree.markOf(link) !== listing) unseen.push(link);
    }
    for (const link of unseen) {
      if (repairs) this.#removal.detach(link);
      else this.#differs(directory, tree.nameOf(link), "extra");
    }
    this.#compareNames(directory, repairs);
    tree.begin();
    tree.setListedIn(directory, this.pass);
    if (repairs) tree.clearFlags(directory, NodeFlag.listing);
    tree.commit();
  }

  /** The replica's own listing against the tree. */
  #compareNames(directory: number, repairs: boolean): void {
    const tree = this.#tree;
    const dir = this.#replica.directory(directory);
    if (dir < 0) return;
    let found = 0;
    const result = readDirectory(dir, ({ name, type }) => {
      const link = tree.lookup(directory, name);
      if (link === 0) return this.#orphan(directory, dir, name, type === TYPE_DIRECTORY, repairs);
      const node = tree.nodeOf(link);
      if (tree.has(node, NodeFlag.absent)) return;
      found += 1;
      if (type === 0 || tree.type(node) === TYPE_UNKNOWN || type === tree.type(node)) return;
      this.#differs(directory, name, "type");
      if (repairs) this.#replica.want(node, false);
    });
    if (result < 0 && repairs) this.#replica.refused(directory, "list", -result);
    let expected = 0;
    for (let link = tree.firstChild(directory); link !== 0; link = tree.nextSibling(link)) {
      if (!tree.has(tree.nodeOf(link), NodeFlag.absent)) expected += 1;
    }
    if (found < expected) this.#findMissing(directory, dir, repairs);
  }

  #orphan(
    directory: number,
    dir: number,
    name: Uint8Array,
    isDirectory: boolean,
    repairs: boolean,
  ): void {
    if (this.#isIgnored(directory, name, isDirectory)) return;
    if (!repairs || this.#disposal.policy !== "keep") this.#differs(directory, name, "extra");
    if (!repairs) return;
    const root = this.#replica.root(this.#tree.mount(directory));
    this.#disposal.orphan(root, dir, cString(name), this.#pathOf(directory, name));
  }

  #findMissing(directory: number, dir: number, repairs: boolean): void {
    const tree = this.#tree;
    const { status } = this.#replica;
    for (let link = tree.firstChild(directory); link !== 0; link = tree.nextSibling(link)) {
      const node = tree.nodeOf(link);
      if (tree.has(node, NodeFlag.absent)) continue;
      const name = tree.nameOf(link);
      if (status.at(dir, cString(name)) >= 0) continue;
      this.#differs(directory, name, "missing");
      if (repairs) this.#replica.want(node, tree.nextLink(tree.firstLink(node)) !== 0);
    }
  }

  #differs(directory: number, name: Uint8Array, what: string): void {
    this.#events.differs({ node: directory, path: this.#pathOf(directory, name), what });
  }
}

function attributesOf(op: OpView) {
  const { mode, uid, gid, mtimeSec, mtimeNsec } = op;
  return { mode, uid, gid, mtimeSec, mtimeNsec };
}
