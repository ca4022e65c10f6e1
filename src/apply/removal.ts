/**
 * Takes nodes out of the tree and off the replica, outside of the stream's own ops: what a resync
 * finds gone or moved, and nodes whose number the source has given to another. First the replica,
 * then the tree: what a kill leaves undone is done when the same is found again.
 */
import { NodeFlag, TYPE_DIRECTORY } from "../model/node-tree.ts";
import { removeBelow } from "../model/subtree.ts";
import { EEXIST, ENOENT } from "../platform/errno.ts";
import { cString, renameat2, RENAME_NOREPLACE } from "../platform/libc.ts";
import type { Disposal } from "./disposal.ts";
import type { Replica } from "./replica.ts";

export class Removal {
  readonly #replica: Replica;
  readonly #disposal: Disposal;

  constructor(replica: Replica, disposal: Disposal) {
    this.#replica = replica;
    this.#disposal = disposal;
  }

  /** Removes the node with all its names and all that is below it. */
  evict(node: number): void {
    const { tree } = this.#replica;
    for (let link = tree.firstLink(node); link !== 0; link = tree.firstLink(node)) {
      if (this.removeName(link)) return;
    }
  }

  /**
   * Removes one name here and there. Returns true when it was the last one, and the node is gone.
   */
  removeName(link: number): boolean {
    const replica = this.#replica;
    const { tree } = replica;
    const node = tree.nodeOf(link);
    const directory = tree.directoryOf(link);
    const dir = replica.directory(directory);
    if (dir >= 0) {
      replica.keepTime(directory);
      this.#disposal.remove(replica.root(tree.mount(node)), dir, cString(tree.nameOf(link)));
    }
    removeBelow(tree, node, (gone) => replica.removed(gone));
    const isLast = tree.firstLink(node) === link && tree.nextLink(link) === 0;
    if (isLast) replica.removed(node);
    tree.begin();
    tree.removeLink(link);
    if (isLast) tree.removeNode(node);
    tree.commit();
    return isLast;
  }

  /**
   * The source does not have this name (any more). When the node may turn up elsewhere, it waits in
   * the private directory, so that its data need not be sent again.
   */
  detach(link: number): void {
    const replica = this.#replica;
    const { tree } = replica;
    const node = tree.nodeOf(link);
    const isLast = tree.firstLink(node) === link && tree.nextLink(link) === 0;
    const home = tree.privateDirectory(tree.mount(node));
    const dir = replica.directory(tree.directoryOf(link));
    if (!isLast || dir < 0 || tree.has(node, NodeFlag.absent)) {
      this.removeName(link);
      return;
    }
    const name = Buffer.from(`l${tree.ino(node)}`);
    replica.keepTime(tree.directoryOf(link));
    replica.keepTime(node);
    const result = this.#toPrivate(node, dir, tree.nameOf(link), name);
    if (result < 0 && result !== -ENOENT) {
      this.removeName(link);
      return;
    }
    tree.begin();
    tree.removeLink(link);
    tree.addLink(node, home, name);
    tree.commit();
  }

  #toPrivate(node: number, dir: number, from: Uint8Array, name: Uint8Array): number {
    const { tree } = this.#replica;
    const root = this.#replica.root(tree.mount(node));
    const target = cString(name);
    const result = renameat2(dir, cString(from), root.namelessFd, target, RENAME_NOREPLACE);
    if (result !== -EEXIST) return result;
    // Left by an earlier life of this inode number, or by this very step before a kill.
    this.#disposal.remove(root, root.namelessFd, target);
    return renameat2(dir, cString(from), root.namelessFd, target, RENAME_NOREPLACE);
  }

  /**
   * What waited in the private directories and did not turn up is removed. Nameless files of the
   * source stay.
   */
  purgeDetached(mounts: Iterable<number>): number {
    const { tree } = this.#replica;
    let count = 0;
    for (const mount of mounts) {
      const links: number[] = [];
      const home = tree.privateDirectory(mount);
      for (let link = tree.firstChild(home); link !== 0; link = tree.nextSibling(link)) {
        if (tree.nameOf(link)[0] === DETACHED_PREFIX) links.push(link);
      }
      for (const link of links) this.removeName(link);
      count += links.length;
    }
    return count;
  }

  /** What the source had without a name, and has no more, or not without one. */
  removeNameless(node: number): void {
    const { tree } = this.#replica;
    const home = tree.privateDirectory(tree.mount(node));
    const link = tree.lookup(home, Buffer.from(`n${tree.ino(node)}`));
    if (link !== 0 && tree.nodeOf(link) === node) this.removeName(link);
  }

  /** Whether the node's place is not known: it waits in the private directory. */
  isDetached(node: number): boolean {
    const { tree } = this.#replica;
    const link = tree.firstLink(node);
    return link !== 0 && tree.directoryOf(link) === tree.privateDirectory(tree.mount(node));
  }

  /** Moves a directory, here and there, to where the source has it. */
  moveDirectory(node: number, directory: number, name: Uint8Array): void {
    const replica = this.#replica;
    const { tree } = replica;
    const old = tree.firstLink(node);
    const from = replica.directory(tree.directoryOf(old));
    const to = replica.directory(directory);
    if (from >= 0 && to >= 0) {
      replica.keepTime(tree.directoryOf(old));
      const target = cString(name);
      const source = cString(tree.nameOf(old));
      const result = renameat2(from, source, to, target, RENAME_NOREPLACE);
      if (result === -EEXIST) {
        const path = tree.path(directory) ?? new Uint8Array(0);
        const whole = Buffer.concat([path, Buffer.from("/"), name]);
        this.#disposal.clear(replica.root(tree.mount(node)), to, target, whole);
        renameat2(from, source, to, target, RENAME_NOREPLACE);
      }
    }
    tree.begin();
    tree.removeLink(old);
    tree.addLink(node, directory, name);
    tree.commit();
  }

  isDirectory(node: number): boolean {
    return this.#replica.tree.type(node) === TYPE_DIRECTORY;
  }
}

/** "l", for a node that waits; "n" is a nameless file of the source. */
const DETACHED_PREFIX = 0x6c;
