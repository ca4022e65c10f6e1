/**
 * Turns ops, which name nodes, into resolved ops, which name places on the replica; keeps the tree
 * as of the op in hand; applies the include and exclude rules.
 *
 * Guarantee: the tree holds the effect of an op if and only if `tree.lsn` says so, whenever the
 * process is killed. {@link Resolver.resolve} makes the change in an open transaction; {@link
 * Resolver.commit}, after the replica was changed, completes it together with the LSN; a restarted
 * resolver finds the tree as it was before the op and resolves it again, with the same outcome.
 *
 * What it knows nothing of it drops: nodes that are excluded, or that a mirror has not reached yet
 * and will bring as they are then. A node that comes into known territory from outside is entered
 * as absent and wanted: the mirror control asks the source for it.
 */
import { assert } from "../base/assert.ts";
import { type NodeTree, NodeFlag, TYPE_DIRECTORY, WANT_ALL } from "../model/node-tree.ts";
import { OpKind, type OpView, RENAME_EXCHANGE, RENAME_WHITEOUT } from "../model/op.ts";
import { Action, ResolvedOp } from "../model/resolved-op.ts";
import type { Rules } from "../model/rules.ts";
import { removeBelow, wantListings } from "../model/subtree.ts";
import { evictStale } from "./stale-numbers.ts";
import { Territory } from "./territory.ts";

export interface ResolverEvents {
  /** The slot will be free: whatever is kept about it must go. */
  removed(node: number): void;
  /**
   * The source has given the node's number to another node: remove all its names, here and on the
   * replica.
   */
  evict(node: number): void;
  /**
   * The source has lost this name, or has another node there: take it away, here and on the
   * replica. A node that has no other waits for what the source is asked for: it may be elsewhere.
   */
  detach(link: number): void;
  /** The source is to be asked for the node. */
  wanted(node: number): void;
}

export class Resolver {
  readonly #tree: NodeTree;
  readonly #rules: Rules;
  readonly #territory: Territory;
  readonly #events: ResolverEvents;
  readonly #resolved = new ResolvedOp();
  /** Number of the pass in progress or the last one: what the stream brings whole is done in it. */
  pass = 0;
  #changing = false;
  readonly #wanted: number[] = [];

  constructor(tree: NodeTree, rules: Rules, events: ResolverEvents) {
    this.#tree = tree;
    this.#rules = rules;
    this.#territory = new Territory(tree, rules);
    this.#events = events;
  }

  /**
   * The answer is valid until the next call. Every call is followed by {@link commit} or {@link
   * abandon}.
   */
  resolve(op: OpView): ResolvedOp {
    const resolved = this.#resolved;
    resolved.clear();
    const { kind } = op;
    if (kind >= OpKind.write && kind <= OpKind.setflags) this.#content(op);
    else if (kind >= OpKind.mirrorDirectory) resolved.action = Action.mirror;
    else if (kind >= OpKind.create && kind <= OpKind.forget && op.lsn > this.#tree.lsn) {
      this.#namespace(op);
      this.#parents(op);
    }
    return resolved;
  }

  /** The replica has the op's effect. */
  commit(lsn: number): void {
    if (!this.#changing) return;
    this.#tree.commit(lsn);
    this.#changing = false;
    for (const node of this.#wanted) this.#events.wanted(node);
    this.#wanted.length = 0;
  }

  /** The replica could not take the op now; it will be resolved again. */
  abandon(): void {
    if (this.#changing) this.#tree.rollback();
    this.#changing = false;
    this.#wanted.length = 0;
  }

  #begin(): void {
    this.#tree.begin();
    this.#changing = true;
  }

  #content(op: OpView): void {
    const node = this.#tree.find(op.mount, op.node);
    if (node === 0 || this.#tree.has(node, NodeFlag.absent)) return;
    this.#resolved.action = Action.content;
    this.#resolved.node = node;
    if (op.kind === OpKind.copy) this.#resolved.other = this.#tree.find(op.mount, op.extra);
  }

  /**
   * Also of an op on an entry that is excluded, or not known: the source's directory has changed.
   */
  #parents(op: OpView): void {
    if (op.kind > OpKind.rename) return;
    this.#resolved.parent = this.#territory.presentDirectory(op.mount, op.parent);
    if (op.kind !== OpKind.rename) return;
    this.#resolved.newParent = this.#territory.presentDirectory(op.mount, op.newParent);
  }

  #namespace(op: OpView): void {
    evictStale(this.#tree, op, (node) => this.#events.evict(node));
    switch (op.kind) {
      case OpKind.create:
        this.#create(op);
        return;
      case OpKind.link:
        this.#link(op);
        return;
      case OpKind.unlink:
        this.#unlink(op);
        return;
      case OpKind.rename:
        (op.flags & RENAME_EXCHANGE) !== 0 ? this.#exchange(op) : this.#rename(op);
        return;
      case OpKind.tmpfile:
        this.#tmpfile(op);
        return;
      case OpKind.forget:
        this.#forget(op);
        return;
      default:
    }
  }

  #create(op: OpView): void {
    const type = op.mode >>> 12;
    if (this.#territory.known(op.mount, op.parent, op.name, type === TYPE_DIRECTORY) === 0) return;
    const directory = this.#tree.find(op.mount, op.parent);
    if (directory === 0) return;
    const link = this.#tree.lookup(directory, op.name);
    // Only a tree that a resync has not put right yet has something there.
    if (link !== 0) this.#events.detach(link);
    this.#begin();
    this.#place(directory, op.name);
    const present = this.#territory.isPresent(directory);
    this.#resolved.action = present ? Action.create : Action.none;
    this.#resolved.node = this.#enter(op.mount, op.node, type, !present);
    this.#tree.addLink(this.#resolved.node, directory, op.name);
  }

  #place(directory: number, name: Uint8Array): void {
    this.#resolved.directory = directory;
    this.#resolved.name = name;
  }

  /** A new node: complete, because the stream brings all of it, or absent and wanted. */
  #enter(mount: number, ino: number, type: number, absent: boolean): number {
    const tree = this.#tree;
    if (!absent) {
      const node = tree.addNode(mount, ino, type, 0);
      tree.setListedIn(node, this.pass);
      tree.setDoneIn(node, this.pass);
      return node;
    }
    const wanted = type === TYPE_DIRECTORY ? WANT_ALL : NodeFlag.wantNode;
    const node = tree.addNode(mount, ino, type, NodeFlag.absent | wanted);
    this.#wanted.push(node);
    return node;
  }

  /**
   * Before the transaction: the source has removed or replaced the node of this number, which holds
   * nothing. Another one, or one that holds something, is not at its place any more; true then.
   */
  #detachOther(link: number, ino: number): boolean {
    if (link === 0) return false;
    const node = this.#tree.nodeOf(link);
    if (this.#tree.ino(node) === ino && this.#tree.firstChild(node) === 0) return false;
    this.#events.detach(link);
    return true;
  }

  /** Within the transaction. The node goes with its last name. Returns true when it did. */
  #dropLink(link: number): boolean {
    if (link === 0) return false;
    const tree = this.#tree;
    const node = tree.nodeOf(link);
    tree.removeLink(link);
    if (tree.firstLink(node) !== 0) return false;
    this.#events.removed(node);
    tree.removeNode(node);
    return true;
  }

  #link(op: OpView): void {
    const tree = this.#tree;
    const directory = this.#territory.known(op.mount, op.parent, op.name, false);
    if (directory === 0) return;
    const node = tree.find(op.mount, op.node);
    const link = tree.lookup(directory, op.name);
    if (link !== 0 && tree.nodeOf(link) === node) return;
    if (link !== 0) this.#events.detach(link);
    this.#begin();
    this.#place(directory, op.name);
    const isPresent = node !== 0 && this.#territory.isPresent(node);
    if (node === 0) {
      this.#adopt(op, directory, op.name);
      return;
    }
    const first = tree.firstLink(node);
    const nameless = this.#territory.privateLink(node);
    tree.addLink(node, directory, op.name);
    if (!isPresent) return;
    this.#resolved.node = node;
    if (!this.#territory.isPresent(directory)) {
      tree.setFlags(node, NodeFlag.wantNode);
      this.#wanted.push(node);
    } else if (nameless !== 0) this.#fromPrivate(nameless, directory, op.name);
    else {
      this.#resolved.action = Action.link;
      this.#resolved.newDirectory = tree.directoryOf(first);
      this.#resolved.newName = tree.nameOf(first);
    }
  }

  #fromPrivate(link: number, directory: number, name: Uint8Array): void {
    const tree = this.#tree;
    this.#resolved.action = Action.rename;
    this.#resolved.directory = tree.directoryOf(link);
    this.#resolved.name = tree.nameOf(link);
    this.#resolved.newDirectory = directory;
    this.#resolved.newName = name;
    tree.removeLink(link);
  }

  /**
   * Within the transaction: the name goes, and what the replica has there. Where something else is
   * to come, it may not stay until then: that may be given another name before.
   */
  #dropEntry(link: number, directory: number): void {
    if (link === 0) return;
    const resolved = this.#resolved;
    const node = this.#tree.nodeOf(link);
    resolved.node = node;
    resolved.isDirectory = this.#tree.type(node) === TYPE_DIRECTORY;
    const present = this.#territory.isPresent(node) && this.#territory.isPresent(directory);
    resolved.action = present ? Action.remove : Action.none;
    resolved.isLast = this.#dropLink(link);
  }

  /** A node that was not known has come to this place, where nothing is. */
  #adopt(op: OpView, directory: number, name: Uint8Array): void {
    const node = this.#enter(op.mount, op.node, op.mode >>> 12, true);
    this.#tree.addLink(node, directory, name);
  }

  #unlink(op: OpView): void {
    const tree = this.#tree;
    const directory = tree.find(op.mount, op.parent);
    const link = directory === 0 ? 0 : tree.lookup(directory, op.name);
    if (link === 0 || this.#detachOther(link, op.node)) return;
    this.#removePlace(link, directory, op.name);
  }

  /** With what is in it, if it is a directory. */
  #removePlace(link: number, directory: number, name: Uint8Array): void {
    removeBelow(this.#tree, this.#tree.nodeOf(link), (gone) => this.#events.removed(gone));
    this.#begin();
    this.#place(directory, name);
    this.#dropEntry(link, directory);
  }

  #rename(op: OpView): void {
    const tree = this.#tree;
    const fromDirectory = tree.find(op.mount, op.parent);
    const node = tree.find(op.mount, op.node);
    const from = this.#territory.linkOfNode(fromDirectory, op.name, node);
    const isDirectory = (node === 0 ? op.mode >>> 12 : tree.type(node)) === TYPE_DIRECTORY;
    const toDirectory = this.#territory.known(op.mount, op.newParent, op.name2, isDirectory);
    const whiteout = (op.flags & RENAME_WHITEOUT) !== 0;
    if (toDirectory === 0) {
      if (from !== 0) this.#removePlace(from, tree.directoryOf(from), tree.nameOf(from));
    } else if (from !== 0) this.#move(op, from, toDirectory);
    else this.#moveIn(op, node, fromDirectory, toDirectory);
    if (whiteout && fromDirectory !== 0) this.#wantListing(fromDirectory);
  }

  #move(op: OpView, from: number, toDirectory: number): void {
    const tree = this.#tree;
    const node = tree.nodeOf(from);
    const to = tree.lookup(toDirectory, op.name2);
    if (to !== 0 && tree.nodeOf(to) === node) {
      // Two names of one node: rename(2) leaves both, if the source's are of one node, too.
      if (op.extra !== op.node) this.#removePlace(from, tree.directoryOf(from), tree.nameOf(from));
      return;
    }
    if (tree.isBelow(toDirectory, node)) {
      // Only a tree that a resync has not put right yet says that it would get below itself.
      this.#relist(tree.directoryOf(from), toDirectory);
      return;
    }
    const replaced = to === 0 ? 0 : tree.nodeOf(to);
    if (this.#detachOther(to, op.extra)) {
      this.#rename(op);
      return;
    }
    this.#willMove(node);
    this.#begin();
    const resolved = this.#resolved;
    resolved.node = node;
    resolved.isDirectory = tree.type(node) === TYPE_DIRECTORY;
    resolved.other = replaced;
    this.#place(tree.directoryOf(from), tree.nameOf(from));
    resolved.newDirectory = toDirectory;
    resolved.newName = op.name2;
    const replacedPresent = replaced !== 0 && this.#territory.isPresent(replaced);
    this.#dropLink(to);
    tree.removeLink(from);
    tree.addLink(node, toDirectory, op.name2);
    if (this.#territory.isPresent(node)) this.#moveOnReplica(node, toDirectory);
    else if (replacedPresent && this.#territory.isPresent(toDirectory)) this.#onlyReplaced();
  }

  /**
   * A directory that the replica does not have takes what moves there with it: all of it will be
   * brought.
   */
  #moveOnReplica(node: number, toDirectory: number): void {
    const tree = this.#tree;
    const resolved = this.#resolved;
    if (this.#territory.isPresent(toDirectory)) {
      resolved.action = Action.rename;
      return;
    }
    resolved.action = Action.remove;
    resolved.isLast = tree.nextLink(tree.firstLink(node)) === 0;
    if (resolved.isLast) tree.setFlags(node, NodeFlag.absent);
    this.#wantBoth(node);
  }

  /** The moved node is not on the replica; what it replaced is. */
  #onlyReplaced(): void {
    const resolved = this.#resolved;
    resolved.action = Action.remove;
    resolved.directory = resolved.newDirectory;
    resolved.name = resolved.newName;
  }

  #wantBoth(node: number): void {
    const isDirectory = this.#tree.type(node) === TYPE_DIRECTORY;
    this.#tree.setFlags(node, isDirectory ? WANT_ALL : NodeFlag.wantNode);
    this.#wanted.push(node);
  }

  /** Comes from where we know nothing, or is not what the tree has at the place that it leaves. */
  #moveIn(op: OpView, node: number, fromDirectory: number, toDirectory: number): void {
    const tree = this.#tree;
    const stale = fromDirectory === 0 ? 0 : tree.lookup(fromDirectory, op.name);
    const to = tree.lookup(toDirectory, op.name2);
    if (to !== 0 && tree.nodeOf(to) === node) return;
    if (this.#detachOther(to, op.extra)) {
      this.#rename(op);
      return;
    }
    this.#begin();
    if (stale !== 0) this.#wantBoth(fromDirectory);
    this.#place(toDirectory, op.name2);
    this.#dropEntry(to, toDirectory);
    if (node === 0) {
      this.#adopt(op, toDirectory, op.name2);
      return;
    }
    // Known under another name: the mirror makes this one a link to it, or moves the directory
    // here.
    this.#wantBoth(toDirectory);
  }

  #wantListing(directory: number): void {
    // The source has no private directory that could be listed.
    if (directory === this.#tree.privateDirectory(this.#tree.mount(directory))) return;
    if (!this.#changing) this.#begin();
    this.#tree.setFlags(directory, NodeFlag.wantListing);
    this.#wanted.push(directory);
  }

  #exchange(op: OpView): void {
    const tree = this.#tree;
    const { mount } = op;
    const directory = tree.find(mount, op.parent);
    const newDirectory = tree.find(mount, op.newParent);
    const from = directory === 0 ? 0 : tree.lookup(directory, op.name);
    const to = newDirectory === 0 ? 0 : tree.lookup(newDirectory, op.name2);
    if (from === 0 && to === 0) {
      this.#exchangeOutside(op);
      return;
    }
    const node = from === 0 ? 0 : tree.nodeOf(from);
    const other = to === 0 ? 0 : tree.nodeOf(to);
    if (node === other && op.node === op.extra) return;
    const exact =
      node !== 0 && other !== 0 && tree.ino(node) === op.node && tree.ino(other) === op.extra;
    const loops = exact && (tree.isBelow(newDirectory, node) || tree.isBelow(directory, other));
    if (!exact || loops || this.#borderBetween(op, node, other)) {
      this.#relist(directory, newDirectory);
      return;
    }
    for (const moved of [node, other]) this.#willMove(moved);
    this.#begin();
    const resolved = this.#resolved;
    resolved.node = node;
    resolved.other = other;
    this.#place(directory, op.name);
    resolved.newDirectory = newDirectory;
    resolved.newName = op.name2;
    tree.removeLink(from);
    tree.removeLink(to);
    tree.addLink(node, newDirectory, op.name2);
    tree.addLink(other, directory, op.name);
    this.#exchangeAction(node, other);
  }

  /** Rules tell files from directories: what comes may be ours where what goes was not. */
  #exchangeOutside(op: OpView): void {
    if (this.#rules.isEmpty) return;
    const holding = (parent: number, name: Uint8Array): number =>
      this.#territory.known(op.mount, parent, name, true) ||
      this.#territory.known(op.mount, parent, name, false);
    this.#relist(holding(op.parent, op.name), holding(op.newParent, op.name2));
  }

  /** With one of the two absent, the exchange is a rename of the other. */
  #exchangeAction(node: number, other: number): void {
    const resolved = this.#resolved;
    const isHere = this.#territory.isPresent(node);
    if (isHere === this.#territory.isPresent(other)) {
      if (isHere) resolved.action = Action.exchange;
      return;
    }
    if (!isHere) {
      const { directory, name } = resolved;
      resolved.node = other;
      resolved.directory = resolved.newDirectory;
      resolved.name = resolved.newName;
      resolved.newDirectory = directory;
      resolved.newName = name;
    }
    resolved.other = 0;
    resolved.isDirectory = this.#tree.type(resolved.node) === TYPE_DIRECTORY;
    this.#moveOnReplica(resolved.node, resolved.newDirectory);
  }

  /** True when the rules judge one of the two otherwise at its new place. */
  #borderBetween(op: OpView, node: number, other: number): boolean {
    if (this.#rules.isEmpty) return false;
    const isDirectory = (slot: number) => this.#tree.type(slot) === TYPE_DIRECTORY;
    if (this.#territory.known(op.mount, op.newParent, op.name2, isDirectory(node)) === 0)
      return true;
    return this.#territory.known(op.mount, op.parent, op.name, isDirectory(other)) === 0;
  }

  /** Rare and tangled cases: listings of both directories, made anew, tell what is where. */
  #relist(directory: number, newDirectory: number): void {
    if (directory !== 0) this.#wantListing(directory);
    if (newDirectory !== 0) this.#wantListing(newDirectory);
  }

  #tmpfile(op: OpView): void {
    const tree = this.#tree;
    this.#begin();
    const home = tree.privateDirectory(op.mount);
    assert(home !== 0, () => `Resolver: mount ${op.mount} is not of this job`);
    this.#place(home, Buffer.from(`n${op.node}`));
    this.#resolved.action = Action.create;
    this.#resolved.node = this.#enter(op.mount, op.node, op.mode >>> 12, false);
    tree.addLink(this.#resolved.node, home, this.#resolved.name);
  }

  #forget(op: OpView): void {
    const tree = this.#tree;
    const home = tree.privateDirectory(op.mount);
    // Not just any name there: one that had the number before may be waiting for its place.
    const link = home === 0 ? 0 : tree.lookup(home, Buffer.from(`n${op.node}`));
    if (link !== 0) this.#removePlace(link, home, tree.nameOf(link));
  }

  /**
   * Before the transaction: when a directory moves and the rules look at whole paths, all that is
   * below is judged anew.
   */
  #willMove(node: number): void {
    if (this.#rules.dependOnPath) wantListings(this.#tree, node);
  }
}
