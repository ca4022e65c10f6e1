/**
 * Brings the replica's names to those of a tree, after a power cut: the tree is that of a
 * checkpoint, the replica is as it was at some later moment, and nodes are known by their inode
 * numbers whatever they are called by now. Ops from the checkpoint on are then applied as always.
 *
 * Data and attributes are left alone, see docs/decisions/0005-target-checkpoint.md. A file whose
 * inode is gone was removed by a later op: it is marked as absent and wanted, so that ops on it are
 * dropped until it is removed again; should it survive, the source is asked for it. In the place of
 * such a directory an empty one is made, for what moves through it.
 *
 * Everything may be repeated after a kill; what an earlier run has moved aside is found again.
 */
import { type NodeTree, NodeFlag, TYPE_DIRECTORY, WANT_ALL } from "../model/node-tree.ts";
import type { Rules } from "../model/rules.ts";
import { EEXIST } from "../platform/errno.ts";
import { close, cString, linkat, mkdirat, RENAME_NOREPLACE, renameat2 } from "../platform/libc.ts";
import { openDirectoryBeneath, openRoot, readDirectory } from "../platform/replica-files.ts";
import { Statx } from "../platform/statx.ts";
import { Disposal, type OrphanPolicy, unprotect } from "./disposal.ts";
import { InodeIndex } from "./inode-index.ts";
import { OpenFolder } from "./open-folder.ts";
import { makeFolder, type ReplicaRoot, ReplicaRootError } from "./private-area.ts";
import { type Places, ReplicaWalk, Seen, stagedName } from "./replica-walk.ts";

const STAGING = "recover";

export interface ReconcilerParts {
  readonly tree: NodeTree;
  readonly roots: ReadonlyMap<number, ReplicaRoot>;
  readonly rules: Rules;
  readonly orphans: OrphanPolicy;
  /** When the tree's checkpoint was made, in seconds since 1970 by this machine's clock. */
  readonly madeAtSec: number;
}

export interface Reconciliation {
  /** Names that led to a node that is called otherwise in the tree. */
  moved: number;
  /** Names of what the tree does not have. */
  removed: number;
  /** Nodes that are not on the replica: removed by ops after the checkpoint, or lost. */
  missing: number;
  /**
   * A root is not the folder that the tree was made with: nodes were taken for what their names
   * lead to, and everything is to be compared.
   */
  isForeign: boolean;
}

/** @throws {ReplicaRootError} when the replica's private area cannot be used */
export function reconcile(parts: ReconcilerParts): Reconciliation {
  const found: Reconciliation = { moved: 0, removed: 0, missing: 0, isForeign: false };
  for (const [mount, root] of parts.roots) new Reconciler(parts, mount, root, found).run();
  return found;
}

class Reconciler {
  readonly #parts: ReconcilerParts;
  readonly #tree: NodeTree;
  readonly #mount: number;
  readonly #root: ReplicaRoot;
  readonly #found: Reconciliation;
  readonly #places: Places;
  readonly #status = new Statx();
  readonly #disposal: Disposal;
  #stagingFd = -1;

  constructor(parts: ReconcilerParts, mount: number, root: ReplicaRoot, found: Reconciliation) {
    this.#parts = parts;
    this.#tree = parts.tree;
    this.#mount = mount;
    this.#root = root;
    this.#found = found;
    this.#places = {
      seen: new Uint8Array(parts.tree.nodeHigh),
      links: new Uint8Array(parts.tree.linkHigh),
    };
    this.#disposal = new Disposal(parts.orphans);
    this.#disposal.asideName = "recovered";
  }

  run(): void {
    const { areaPath } = this.#root;
    const area = openRoot(areaPath);
    this.#stagingFd = area < 0 ? area : makeFolder(area, STAGING);
    if (this.#stagingFd < 0) throw new ReplicaRootError(areaPath, -this.#stagingFd);
    close(area);
    const { rules } = this.#parts;
    const index = this.#index();
    const walk = new ReplicaWalk({
      tree: this.#tree,
      mount: this.#mount,
      root: this.#root,
      stagingFd: this.#stagingFd,
      index,
      places: this.#places,
      rules,
      disposal: this.#disposal,
      madeAtSec: this.#found.isForeign ? Number.POSITIVE_INFINITY : this.#parts.madeAtSec,
    });
    walk.run();
    this.#found.moved += walk.moved;
    this.#found.removed += walk.removed;
    // Directories first, so that every place can be reached.
    this.#placeAll((node) => this.#tree.type(node) === TYPE_DIRECTORY);
    this.#placeAll((node) => this.#tree.type(node) !== TYPE_DIRECTORY);
    this.#emptyStaging();
    close(this.#stagingFd);
  }

  #index(): InodeIndex {
    const tree = this.#tree;
    const index = new InodeIndex(tree.nodeCount);
    const top = tree.root(this.#mount);
    this.#status.of(this.#root.rootFd);
    const isForeign = tree.replicaIno(top) !== this.#status.ino;
    if (isForeign) this.#found.isForeign = true;
    for (let node = 1; node < tree.nodeHigh; node++) {
      if (!tree.exists(node) || tree.mount(node) !== this.#mount) continue;
      if (isForeign) tree.setReplicaIno(node, 0);
      if (tree.has(node, NodeFlag.absent) || tree.replicaIno(node) === 0) continue;
      index.set(tree.replicaIno(node), node);
    }
    return index;
  }

  /** Makes the names that are missing, of nodes for which `isMine`. */
  #placeAll(isMine: (node: number) => boolean): void {
    const tree = this.#tree;
    const stack = [tree.root(this.#mount), tree.privateDirectory(this.#mount)];
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      const missing: number[] = [];
      for (let link = tree.firstChild(at); link !== 0; link = tree.nextSibling(link)) {
        const node = tree.nodeOf(link);
        if (tree.has(node, NodeFlag.absent)) continue;
        if (tree.type(node) === TYPE_DIRECTORY) stack.push(node);
        if (isMine(node) && this.#places.links[link] === 0) missing.push(link);
      }
      if (missing.length > 0) this.#placeIn(at, missing);
    }
  }

  #placeIn(directory: number, links: readonly number[]): void {
    const fd = this.#open(directory);
    if (fd < 0) {
      for (const link of links) this.#lost(this.#tree.nodeOf(link));
      return;
    }
    const folder = new OpenFolder(fd);
    for (const link of links) this.#place(folder, link);
    folder.close();
  }

  #open(directory: number): number {
    const tree = this.#tree;
    const names: Uint8Array[] = [];
    for (let at = directory; ; ) {
      if (at === tree.root(this.#mount)) {
        return openDirectoryBeneath(this.#root.rootFd, names.reverse());
      }
      if (at === tree.privateDirectory(this.#mount)) {
        return openDirectoryBeneath(this.#root.namelessFd, names.reverse());
      }
      const link = tree.firstLink(at);
      if (link === 0) return -1;
      names.push(tree.nameOf(link));
      at = tree.directoryOf(link);
    }
  }

  #place(folder: OpenFolder, link: number): void {
    const tree = this.#tree;
    const node = tree.nodeOf(link);
    // Another link of it was found to be lost.
    if (tree.has(node, NodeFlag.absent)) return;
    const seen = this.#places.seen[node] as number;
    if ((seen & (Seen.staged | Seen.inPlace)) === 0) {
      this.#makeUp(folder, link, node);
      return;
    }
    folder.change();
    if (this.#bring(folder.fd, link, node) < 0) {
      this.#lost(node);
      return;
    }
    this.#places.links[link] = 1;
  }

  /** Returns 0 or `-errno`. */
  #bring(dir: number, link: number, node: number): number {
    const tree = this.#tree;
    const name = cString(tree.nameOf(link));
    const isStaged = ((this.#places.seen[node] as number) & Seen.staged) !== 0;
    const source = stagedName(tree.replicaIno(node));
    const isOnlyName = tree.nextLink(tree.firstLink(node)) === 0;
    for (let attempt = 0; ; attempt++) {
      let result: number;
      if (!isStaged) result = this.#linkFrom(dir, name, node);
      else if (isOnlyName) result = renameat2(this.#stagingFd, source, dir, name, RENAME_NOREPLACE);
      else result = linkat(this.#stagingFd, source, dir, name, 0);
      if (result >= 0 || attempt > 1) return result;
      if (result === -EEXIST) this.#disposal.remove(this.#root, dir, name);
      else if (!isStaged || !unprotect(this.#stagingFd, source)) return result;
    }
  }

  /** Makes another name of a node that is in one of its places. */
  #linkFrom(dir: number, name: Uint8Array, node: number): number {
    const tree = this.#tree;
    for (let link = tree.firstLink(node); link !== 0; link = tree.nextLink(link)) {
      if (this.#places.links[link] !== 1) continue;
      const from = this.#open(tree.directoryOf(link));
      if (from < 0) continue;
      const existing = cString(tree.nameOf(link));
      let result = linkat(from, existing, dir, name, 0);
      if (result < 0 && result !== -EEXIST && unprotect(from, existing)) {
        result = linkat(from, existing, dir, name, 0);
      }
      close(from);
      return result;
    }
    return -1;
  }

  /** The node's inode is gone. */
  #makeUp(folder: OpenFolder, link: number, node: number): void {
    const tree = this.#tree;
    if (tree.type(node) !== TYPE_DIRECTORY) {
      this.#lost(node);
      return;
    }
    const name = cString(tree.nameOf(link));
    folder.change();
    let made = mkdirat(folder.fd, name, 0o700);
    if (made === -EEXIST) {
      this.#disposal.remove(this.#root, folder.fd, name);
      made = mkdirat(folder.fd, name, 0o700);
    }
    if (made < 0 || this.#status.at(folder.fd, name) < 0) {
      this.#lost(node);
      return;
    }
    this.#found.missing += 1;
    tree.setReplicaIno(node, this.#status.ino);
    tree.change(() => tree.setFlags(node, WANT_ALL));
  }

  #lost(node: number): void {
    const tree = this.#tree;
    this.#found.missing += 1;
    const wanted = tree.type(node) === TYPE_DIRECTORY ? WANT_ALL : NodeFlag.wantNode;
    tree.change(() => tree.setFlags(node, wanted | NodeFlag.absent));
  }

  /** What is left there has its place already, under each of its names. */
  #emptyStaging(): void {
    const names: Uint8Array[] = [];
    readDirectory(this.#stagingFd, ({ name }) => names.push(name));
    for (const name of names) this.#disposal.remove(this.#root, this.#stagingFd, cString(name));
  }
}
