/**
 * The resolver's tree: every node of the source that the replica should have, and all its names, as
 * of the last op that was taken in. It turns (mount, inode) into paths, and outlives the process
 * that works on it.
 *
 * See tree-layout.ts for the form and tree-memory.ts for why a kill does no harm.
 */
import { assert } from "../base/assert.ts";
import { TWO_32, U53_MAX } from "../base/bytes.ts";
import { type NodeTree, PASSES, TYPE_DIRECTORY, WANT_ALL, WANTED } from "../model/node-tree.ts";
import { NameHeap } from "./name-heap.ts";
import { TreeError, TreeFullError } from "./tree-error.ts";
import { LINK_WORDS, LinkAt, NODE_WORDS, NodeAt, TreeAt, type TreeOptions } from "./tree-layout.ts";
import { TREE_DEFAULTS } from "./tree-layout.ts";
import { TreeMemory } from "./tree-memory.ts";

const TYPE_MASK = 0xf;
const FLAGS_MASK = 0xff0;
const LISTED_SHIFT = 12;
const DONE_SHIFT = 22;
const PASS_MASK = PASSES - 1;
/** Inode number of a mount's private directory, which no real node has. */
const PRIVATE_INO = 0;
const MOUNTS_MAX = 2048;
const NONE = new Uint8Array(0);

export interface TreeRoot {
  readonly mount: number;
  readonly ino: number;
}

export class Tree implements NodeTree {
  readonly #memory: TreeMemory;
  readonly #u32: Uint32Array;
  readonly #names: NameHeap;
  readonly #nodesAt: number;
  readonly #linksAt: number;
  readonly #bucketMask: number;
  readonly #roots = new Map<number, number>();
  readonly #privates = new Map<number, number>();

  private constructor(memory: TreeMemory) {
    this.#memory = memory;
    this.#u32 = memory.u32;
    this.#names = new NameHeap(memory);
    this.#nodesAt = memory.layout.nodesAt;
    this.#linksAt = memory.layout.linksAt;
    this.#bucketMask = memory.layout.buckets - 1;
  }

  /** An empty tree: a root and a private directory for each mount. */
  static create(path: string, roots: readonly TreeRoot[], options?: Partial<TreeOptions>): Tree {
    const memory = TreeMemory.create(path, { ...TREE_DEFAULTS, ...options });
    const tree = new Tree(memory);
    for (const { mount, ino } of roots) {
      tree.begin();
      tree.addNode(mount, ino, TYPE_DIRECTORY, WANT_ALL);
      tree.addNode(mount, PRIVATE_INO, TYPE_DIRECTORY, 0);
      tree.commit();
    }
    memory.seal();
    tree.#findRoots(roots);
    return tree;
  }

  /** @throws {TreeError} when there is no whole tree, or it is one of other roots. */
  static open(path: string, roots: readonly TreeRoot[]): Tree {
    const tree = new Tree(TreeMemory.open(path));
    tree.#findRoots(roots);
    return tree;
  }

  #findRoots(roots: readonly TreeRoot[]): void {
    for (const { mount, ino } of roots) {
      const root = this.find(mount, ino);
      if (root === 0) throw new TreeError(`the root of mount ${mount} is not in the tree`);
      this.#roots.set(mount, root);
      this.#privates.set(mount, this.find(mount, PRIVATE_INO));
    }
  }

  close(): void {
    this.#memory.close();
  }

  /** Bytes of the tree's file, most of which were never used. */
  get fileBytes(): number {
    return this.#memory.size;
  }

  /** Views of all that was ever used, with its place in the file. Not in a transaction. */
  used(): { readonly offset: number; readonly bytes: Uint8Array }[] {
    return this.#memory.used().map(({ offset, length }) => {
      return { offset, bytes: this.#memory.bytes.subarray(offset, offset + length) };
    });
  }

  get lsn(): number {
    return this.#memory.lsn;
  }
  /** LSNs start anew: the journal is another one. */
  forgetLsn(): void {
    this.begin();
    this.#memory.set(TreeAt.lsn, 0);
    this.#memory.set(TreeAt.lsn + 1, 0);
    this.commit();
  }
  get nodeCount(): number {
    return this.#u32[TreeAt.nodeCount]!;
  }
  get linkCount(): number {
    return this.#u32[TreeAt.linkCount]!;
  }
  get wantedCount(): number {
    return this.#u32[TreeAt.wantedCount]!;
  }
  get directoryCount(): number {
    return this.#u32[TreeAt.directoryCount]!;
  }
  get nodeHigh(): number {
    return this.#u32[TreeAt.nodeHigh]!;
  }
  get linkHigh(): number {
    return this.#u32[TreeAt.linkHigh]!;
  }

  root(mount: number): number {
    return this.#roots.get(mount) ?? 0;
  }

  privateDirectory(mount: number): number {
    return this.#privates.get(mount) ?? 0;
  }

  #node(node: number): number {
    return this.#nodesAt + node * NODE_WORDS;
  }

  #link(link: number): number {
    return this.#linksAt + link * LINK_WORDS;
  }

  #nodeBucket(low: number, high: number): number {
    let hash = Math.imul(low, 0x9e3779b1) ^ Math.imul(high + 0x7f4a7c15, 0x85ebca6b);
    hash ^= hash >>> 15;
    return this.#memory.layout.nodeBucketsAt + (hash & this.#bucketMask);
  }

  #linkBucket(directory: number, name: Uint8Array): number {
    let hash = Math.imul(directory, 0x9e3779b1) ^ 0x811c9dc5;
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name[i]!, 0x01000193);
    hash ^= hash >>> 13;
    hash = Math.imul(hash, 0x85ebca6b);
    hash ^= hash >>> 16;
    return this.#memory.layout.linkBucketsAt + (hash & this.#bucketMask);
  }

  find(mount: number, ino: number): number {
    const low = ino % TWO_32;
    const high = highWord(mount, ino);
    const u32 = this.#u32;
    let node = u32[this.#nodeBucket(low, high)]!;
    while (node !== 0) {
      const at = this.#node(node);
      if (u32[at + NodeAt.inoLow] === low && u32[at + NodeAt.inoHighMount] === high) return node;
      node = u32[at + NodeAt.hashNext]!;
    }
    return 0;
  }

  /** False for a free slot. */
  exists(node: number): boolean {
    return node > 0 && node < this.nodeHigh && this.#u32[this.#node(node) + NodeAt.state] !== 0;
  }

  mount(node: number): number {
    return this.#u32[this.#node(node) + NodeAt.inoHighMount]! >>> 21;
  }
  ino(node: number): number {
    const at = this.#node(node);
    const high = this.#u32[at + NodeAt.inoHighMount]! & 0x1fffff;
    return this.#u32[at + NodeAt.inoLow]! + high * TWO_32;
  }
  type(node: number): number {
    return (this.#state(node) & TYPE_MASK) % ALIVE_UNKNOWN;
  }
  has(node: number, flags: number): boolean {
    return (this.#state(node) & flags) !== 0;
  }
  listedIn(node: number): number {
    return (this.#state(node) >>> LISTED_SHIFT) & PASS_MASK;
  }
  doneIn(node: number): number {
    return (this.#state(node) >>> DONE_SHIFT) & PASS_MASK;
  }
  #state(node: number): number {
    return this.#u32[this.#node(node) + NodeAt.state]!;
  }

  replicaIno(node: number): number {
    const at = this.#node(node);
    return this.#u32[at + NodeAt.replicaLow]! + this.#u32[at + NodeAt.replicaHigh]! * TWO_32;
  }
  /**
   * Outside of transactions: when one is put back, the node is gone, or is made again with another
   * number.
   */
  setReplicaIno(node: number, ino: number): void {
    const at = this.#node(node);
    this.#u32[at + NodeAt.replicaLow] = ino % TWO_32;
    this.#u32[at + NodeAt.replicaHigh] = Math.floor(ino / TWO_32);
  }

  firstLink(node: number): number {
    return this.#u32[this.#node(node) + NodeAt.firstLink]!;
  }
  nextLink(link: number): number {
    return this.#u32[this.#link(link) + LinkAt.linkNext]!;
  }
  linksOf(node: number): number {
    let count = 0;
    for (let link = this.firstLink(node); link !== 0; link = this.nextLink(link)) count += 1;
    return count;
  }
  nodeOf(link: number): number {
    return this.#u32[this.#link(link) + LinkAt.node]!;
  }
  directoryOf(link: number): number {
    return this.#u32[this.#link(link) + LinkAt.directory]!;
  }
  nameOf(link: number): Uint8Array {
    return this.#names.get(this.#u32[this.#link(link) + LinkAt.name]!);
  }
  markOf(link: number): number {
    return this.#u32[this.#link(link) + LinkAt.mark]!;
  }
  firstChild(directory: number): number {
    return this.#u32[this.#node(directory) + NodeAt.firstChild]!;
  }
  nextSibling(link: number): number {
    return this.#u32[this.#link(link) + LinkAt.siblingNext]!;
  }
  listing(directory: number): number {
    return this.#u32[this.#node(directory) + NodeAt.listing]!;
  }

  lookup(directory: number, name: Uint8Array): number {
    const u32 = this.#u32;
    let link = u32[this.#linkBucket(directory, name)]!;
    while (link !== 0) {
      const at = this.#link(link);
      if (
        u32[at + LinkAt.directory] === directory &&
        this.#names.equals(u32[at + LinkAt.name]!, name)
      ) {
        return link;
      }
      link = u32[at + LinkAt.hashNext]!;
    }
    return 0;
  }

  isBelow(directory: number, ancestor: number): boolean {
    for (let node = directory; node !== 0; ) {
      if (node === ancestor) return true;
      const link = this.firstLink(node);
      node = link === 0 ? 0 : this.directoryOf(link);
    }
    return false;
  }

  path(node: number): Uint8Array | undefined {
    if (node === this.root(this.mount(node))) return NONE;
    const link = this.firstLink(node);
    return link === 0 ? undefined : this.pathOfLink(link);
  }

  pathOfLink(link: number): Uint8Array | undefined {
    const names: Uint8Array[] = [];
    const root = this.root(this.mount(this.nodeOf(link)));
    for (let at = link; at !== 0; at = this.firstLink(this.directoryOf(at))) {
      names.push(this.nameOf(at));
      if (this.directoryOf(at) === root) return joinPath(names.reverse());
    }
    return undefined;
  }

  begin(): void {
    this.#memory.begin();
  }
  commit(lsn = 0): void {
    this.#memory.commit(lsn);
  }
  rollback(): void {
    this.#memory.rollback();
  }
  change(changes: () => void): void {
    if (this.#memory.isChanging) {
      changes();
      return;
    }
    this.begin();
    changes();
    this.commit();
  }

  addNode(mount: number, ino: number, type: number, flags: number): number {
    assert(mount >= 0 && mount < MOUNTS_MAX, "Tree: mount number out of range");
    assert(ino >= 0 && ino <= U53_MAX, "Tree: inode number out of range");
    const memory = this.#memory;
    const node = this.#takeNode();
    const at = this.#node(node);
    const low = ino % TWO_32;
    const high = highWord(mount, ino);
    const bucket = this.#nodeBucket(low, high);
    memory.set(at + NodeAt.inoLow, low);
    memory.set(at + NodeAt.inoHighMount, high);
    memory.set(at + NodeAt.hashNext, this.#u32[bucket]!);
    memory.set(at + NodeAt.firstLink, 0);
    memory.set(at + NodeAt.firstChild, 0);
    memory.set(at + NodeAt.listing, 0);
    memory.set(at + NodeAt.state, 0);
    this.setReplicaIno(node, 0);
    this.#setState(node, storedType(type) | (flags & FLAGS_MASK));
    memory.set(bucket, node);
    memory.add(TreeAt.nodeCount, 1);
    if (type === TYPE_DIRECTORY) memory.add(TreeAt.directoryCount, 1);
    return node;
  }

  #takeNode(): number {
    const memory = this.#memory;
    const free = this.#u32[TreeAt.nodeFree]!;
    if (free !== 0) {
      memory.set(TreeAt.nodeFree, this.#u32[this.#node(free) + NodeAt.hashNext]!);
      return free;
    }
    const node = this.nodeHigh;
    if (node >= memory.layout.nodesMax) throw new TreeFullError("the tree holds no more files");
    memory.back(this.#nodesAt, this.#node(node + 1));
    memory.set(TreeAt.nodeHigh, node + 1);
    return node;
  }

  removeNode(node: number): void {
    assert(this.firstLink(node) === 0, "Tree: the node still has a name");
    assert(this.firstChild(node) === 0, "Tree: the directory still has entries");
    const memory = this.#memory;
    const at = this.#node(node);
    const u32 = this.#u32;
    const bucket = this.#nodeBucket(u32[at + NodeAt.inoLow]!, u32[at + NodeAt.inoHighMount]!);
    this.#unchain(bucket, node, (slot) => this.#node(slot) + NodeAt.hashNext);
    if (this.type(node) === TYPE_DIRECTORY) memory.add(TreeAt.directoryCount, -1);
    this.#setState(node, 0);
    memory.set(at + NodeAt.hashNext, u32[TreeAt.nodeFree]!);
    memory.set(TreeAt.nodeFree, node);
    memory.add(TreeAt.nodeCount, -1);
  }

  /**
   * Takes `slot` out of the chain that starts in word `head`; `next` tells where a slot keeps its
   * successor.
   */
  #unchain(head: number, slot: number, next: (slot: number) => number): void {
    let word = head;
    while (this.#u32[word] !== slot) {
      assert(this.#u32[word] !== 0, "Tree: a slot is missing from its chain");
      word = next(this.#u32[word]!);
    }
    this.#memory.set(word, this.#u32[next(slot)]!);
  }

  addLink(node: number, directory: number, name: Uint8Array): number {
    assert(name.length > 0 && name.length < 256, "Tree: a name has 1 to 255 bytes");
    const isLoop = this.firstChild(node) !== 0 && this.isBelow(directory, node);
    assert(!isLoop, "Tree: a directory cannot be below itself");
    const memory = this.#memory;
    const u32 = this.#u32;
    const link = this.#takeLink();
    const at = this.#link(link);
    const bucket = this.#linkBucket(directory, name);
    const firstChildAt = this.#node(directory) + NodeAt.firstChild;
    const sibling = u32[firstChildAt]!;
    memory.set(at + LinkAt.node, node);
    memory.set(at + LinkAt.directory, directory);
    memory.set(at + LinkAt.name, this.#names.add(name));
    memory.set(at + LinkAt.hashNext, u32[bucket]!);
    memory.set(at + LinkAt.siblingNext, sibling);
    memory.set(at + LinkAt.siblingPrevious, 0);
    memory.set(at + LinkAt.linkNext, this.firstLink(node));
    memory.set(at + LinkAt.mark, this.listing(directory));
    memory.set(bucket, link);
    if (sibling !== 0) memory.set(this.#link(sibling) + LinkAt.siblingPrevious, link);
    memory.set(firstChildAt, link);
    memory.set(this.#node(node) + NodeAt.firstLink, link);
    memory.add(TreeAt.linkCount, 1);
    return link;
  }

  #takeLink(): number {
    const memory = this.#memory;
    const free = this.#u32[TreeAt.linkFree]!;
    if (free !== 0) {
      memory.set(TreeAt.linkFree, this.#u32[this.#link(free) + LinkAt.hashNext]!);
      return free;
    }
    const link = this.#u32[TreeAt.linkHigh]!;
    if (link >= memory.layout.linksMax) throw new TreeFullError("the tree holds no more names");
    memory.back(this.#linksAt, this.#link(link + 1));
    memory.set(TreeAt.linkHigh, link + 1);
    return link;
  }

  removeLink(link: number): void {
    const memory = this.#memory;
    const u32 = this.#u32;
    const at = this.#link(link);
    const node = u32[at + LinkAt.node]!;
    const directory = u32[at + LinkAt.directory]!;
    assert(node !== 0, "Tree: the link is gone already");
    const bucket = this.#linkBucket(directory, this.nameOf(link));
    this.#unchain(bucket, link, (slot) => this.#link(slot) + LinkAt.hashNext);
    const firstLinkAt = this.#node(node) + NodeAt.firstLink;
    this.#unchain(firstLinkAt, link, (slot) => this.#link(slot) + LinkAt.linkNext);
    const next = u32[at + LinkAt.siblingNext]!;
    const previous = u32[at + LinkAt.siblingPrevious]!;
    if (next !== 0) memory.set(this.#link(next) + LinkAt.siblingPrevious, previous);
    if (previous !== 0) memory.set(this.#link(previous) + LinkAt.siblingNext, next);
    else memory.set(this.#node(directory) + NodeAt.firstChild, next);
    this.#names.remove(u32[at + LinkAt.name]!);
    memory.set(at + LinkAt.node, 0);
    memory.set(at + LinkAt.hashNext, u32[TreeAt.linkFree]!);
    memory.set(TreeAt.linkFree, link);
    memory.add(TreeAt.linkCount, -1);
  }

  setType(node: number, type: number): void {
    const was = this.type(node);
    if (was === type) return;
    this.#setState(node, (this.#state(node) & ~TYPE_MASK) | storedType(type));
    if (was === TYPE_DIRECTORY) this.#memory.add(TreeAt.directoryCount, -1);
    if (type === TYPE_DIRECTORY) this.#memory.add(TreeAt.directoryCount, 1);
  }

  setFlags(node: number, flags: number): void {
    this.#setState(node, this.#state(node) | (flags & FLAGS_MASK));
  }

  clearFlags(node: number, flags: number): void {
    this.#setState(node, this.#state(node) & ~(flags & FLAGS_MASK));
  }

  setListedIn(node: number, pass: number): void {
    const rest = this.#state(node) & ~(PASS_MASK << LISTED_SHIFT);
    this.#setState(node, rest | ((pass & PASS_MASK) << LISTED_SHIFT));
  }

  setDoneIn(node: number, pass: number): void {
    const rest = this.#state(node) & ~(PASS_MASK << DONE_SHIFT);
    this.#setState(node, rest | ((pass & PASS_MASK) << DONE_SHIFT));
  }

  #setState(node: number, state: number): void {
    const word = this.#node(node) + NodeAt.state;
    const before = (this.#u32[word]! & WANTED) !== 0;
    const after = (state & WANTED) !== 0;
    if (this.#u32[word] === state >>> 0) return;
    this.#memory.set(word, state >>> 0);
    if (before !== after) this.#memory.add(TreeAt.wantedCount, after ? 1 : -1);
  }

  startListing(directory: number): void {
    this.#memory.add(this.#node(directory) + NodeAt.listing, 1);
  }

  markSeen(link: number): void {
    this.#memory.set(this.#link(link) + LinkAt.mark, this.listing(this.directoryOf(link)));
  }
}

/** A live node's state is never 0, so an unknown type is stored as one that no `st_mode` has. */
const ALIVE_UNKNOWN = 15;

function storedType(type: number): number {
  return type === 0 ? ALIVE_UNKNOWN : type;
}

function highWord(mount: number, ino: number): number {
  return ((mount << 21) | Math.floor(ino / TWO_32)) >>> 0;
}

function joinPath(names: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(names.flatMap((name, index) => (index === 0 ? [name] : [SLASH, name])));
}

const SLASH = Uint8Array.of(0x2f);
