/**
 * First half of the {@link Reconciler}: looks at every name below the replica's root and in its
 * private area, takes known inodes that are not in their place into the staging folder, and removes
 * what ops after the checkpoint have made.
 */
import { type NodeTree, LISTING_WANTED, NodeFlag } from "../model/node-tree.ts";
import { TYPE_DIRECTORY, TYPE_UNKNOWN } from "../model/node-tree.ts";
import type { Rules } from "../model/rules.ts";
import { EEXIST } from "../platform/errno.ts";
import { cString, RENAME_NOREPLACE, renameat2, unlinkat } from "../platform/libc.ts";
import { openDirectoryBeneath, type RawEntry, readDirectory } from "../platform/replica-files.ts";
import { Statx } from "../platform/statx.ts";
import { type Disposal, unprotect } from "./disposal.ts";
import type { InodeIndex } from "./inode-index.ts";
import { OpenFolder } from "./open-folder.ts";
import { INSIDE_NAME, type ReplicaRoot } from "./private-area.ts";

const INSIDE = Buffer.from(INSIDE_NAME);
const SLASH = Buffer.from("/");
const NO_NAME = new Uint8Array(0);

/** Bits of {@link Places.seen}. */
export const Seen = { inPlace: 1, staged: 2, missing: 4 } as const;

/** Where the tree's nodes were found; shared by both halves. */
export interface Places {
  /** By node: {@link Seen}. */
  readonly seen: Uint8Array;
  /** By link: 1 when the name leads to its node. */
  readonly links: Uint8Array;
}

export interface WalkParts {
  readonly tree: NodeTree;
  readonly mount: number;
  readonly root: ReplicaRoot;
  readonly stagingFd: number;
  readonly index: InodeIndex;
  readonly places: Places;
  readonly rules: Rules;
  readonly disposal: Disposal;
  /** Inodes that were born earlier were not made by ops after the checkpoint. */
  readonly madeAtSec: number;
}

/** How to get at a folder: from an open one by names. It stays there while the walk lasts. */
interface Folder {
  readonly base: number;
  readonly above: Folder | undefined;
  readonly name: Uint8Array;
  /** 0: the tree does not know it. */
  readonly node: number;
}

export class ReplicaWalk {
  readonly #parts: WalkParts;
  readonly #stack: Folder[] = [];
  readonly #status = new Statx();
  #device = "";
  #trash = 0;
  /** Names that led to a known inode and were not its own. */
  moved = 0;
  /** Names that the tree does not have. */
  removed = 0;

  constructor(parts: WalkParts) {
    this.#parts = parts;
  }

  run(): void {
    const { tree, mount, root, stagingFd } = this.#parts;
    this.#status.of(root.rootFd);
    this.#device = this.#deviceOf();
    const top = (base: number, node: number): Folder => {
      return { base, above: undefined, name: NO_NAME, node };
    };
    // What an earlier run has staged; the trash before anything is put there.
    this.#visitAll(top(stagingFd, 0));
    this.#visitAll(top(root.trashFd, 0));
    this.#visitAll(top(root.asideFd, 0));
    this.#visitAll(top(root.namelessFd, tree.privateDirectory(mount)));
    this.#visitAll(top(root.rootFd, tree.root(mount)));
  }

  #deviceOf(): string {
    return `${this.#status.devMajor}:${this.#status.devMinor}`;
  }

  #visitAll(first: Folder): void {
    this.#stack.push(first);
    for (let at = this.#stack.pop(); at !== undefined; at = this.#stack.pop()) this.#visit(at);
  }

  #visit(at: Folder): void {
    const names: Uint8Array[] = [];
    let top = at;
    for (; top.above !== undefined || top.name.length > 0; top = top.above) {
      names.push(top.name);
      if (top.above === undefined) break;
    }
    const fd = openDirectoryBeneath(top.base, names.reverse());
    if (fd < 0) return;
    const folder = new OpenFolder(fd);
    // Not into another file system that somebody has mounted there.
    if (this.#status.of(fd) === 0 && this.#deviceOf() === this.#device) {
      const entries: RawEntry[] = [];
      readDirectory(fd, (entry) => entries.push(entry));
      for (const entry of entries) this.#entry(at, folder, entry);
    }
    folder.close();
  }

  #entry(at: Folder, folder: OpenFolder, { name, type, ino }: RawEntry): void {
    const { tree, root, mount, index, places, stagingFd } = this.#parts;
    if (at.node === tree.root(mount) && root.isInside && INSIDE.equals(name)) return;
    const known = index.get(ino);
    const isType = known !== 0 && this.#isType(known, folder.fd, name, type);
    const node = isType ? known : 0;
    const link = at.node === 0 ? 0 : tree.lookup(at.node, name);
    if (node === 0) this.#unknown(at, folder, { name, type, ino }, link);
    else if (link !== 0 && tree.nodeOf(link) === node) {
      places.links[link] = 1;
      places.seen[node] = (places.seen[node] as number) | Seen.inPlace;
      this.#enter(at, name, node);
    } else if (at.base === stagingFd && at.above === undefined && at.name.length === 0) {
      places.seen[node] = (places.seen[node] as number) | Seen.staged;
      this.#enter(at, name, node);
    } else this.#stage(folder, name, node);
  }

  #isType(node: number, dir: number, name: Uint8Array, type: number): boolean {
    const wanted = this.#parts.tree.type(node);
    if (wanted === TYPE_UNKNOWN) return true;
    if (type !== 0) return type === wanted;
    return this.#status.at(dir, cString(name)) === 0 && this.#status.mode >>> 12 === wanted;
  }

  /** `node`: 0 for a folder that the tree does not know. */
  #enter(above: Folder, name: Uint8Array, node: number): void {
    if (node !== 0 && this.#parts.tree.type(node) !== TYPE_DIRECTORY) return;
    this.#stack.push({ base: above.base, above, name, node });
  }

  #stage(folder: OpenFolder, name: Uint8Array, node: number): void {
    const { tree, stagingFd, places } = this.#parts;
    const from = cString(name);
    const to = stagedName(tree.replicaIno(node));
    this.moved += 1;
    folder.change();
    let result = renameat2(folder.fd, from, stagingFd, to, RENAME_NOREPLACE);
    if (result < 0 && result !== -EEXIST && unprotect(folder.fd, from)) {
      result = renameat2(folder.fd, from, stagingFd, to, RENAME_NOREPLACE);
    }
    // Another name of what is staged already.
    if (result === -EEXIST) unlinkat(folder.fd, from, 0);
    if (result < 0 && result !== -EEXIST) return;
    places.seen[node] = (places.seen[node] as number) | Seen.staged;
    if (result === 0 && tree.type(node) === TYPE_DIRECTORY) {
      const staged = to.subarray(0, to.length - 1);
      this.#stack.push({ base: stagingFd, above: undefined, name: staged, node });
    }
  }

  /** `link`: the tree's, of that name; its node is missing, absent or elsewhere. */
  #unknown(at: Folder, folder: OpenFolder, entry: RawEntry, link: number): void {
    const { tree, disposal, root } = this.#parts;
    const { name } = entry;
    const nameZ = cString(name);
    const isFound = this.#status.at(folder.fd, nameZ) === 0;
    const isDirectory = isFound && this.#status.isDirectory;
    const stays = at.node === 0 || !isFound;
    const isOld = (this.#status.birthSec ?? Number.POSITIVE_INFINITY) < this.#parts.madeAtSec;
    if (!stays && link !== 0 && this.#adopt(link, isDirectory)) {
      this.#enter(at, name, tree.nodeOf(link));
    } else if (
      !stays &&
      (link !== 0 || (!isOld && !this.#isExcluded(at.node, name, isDirectory)))
    ) {
      this.#remove(folder, name, isDirectory);
    } else if (!stays && this.#isComplete(at.node) && disposal.policy !== "keep") {
      if (this.#isExcluded(at.node, name, isDirectory)) return;
      // An orphan that the next listing would have found.
      folder.change();
      disposal.orphan(root, folder.fd, nameZ, this.#path(at.node, name));
    } else if (isDirectory) this.#enter(at, name, 0);
  }

  /** A node whose number was never noted is what is found at its place. */
  #adopt(link: number, isDirectory: boolean): boolean {
    const { tree, places } = this.#parts;
    const node = tree.nodeOf(link);
    if (tree.replicaIno(node) !== 0 || tree.has(node, NodeFlag.absent)) return false;
    if (tree.type(node) !== this.#status.mode >>> 12) return false;
    if (isDirectory && tree.privateDirectory(tree.mount(node)) === node) return false;
    tree.setReplicaIno(node, this.#status.ino);
    places.links[link] = 1;
    places.seen[node] = (places.seen[node] as number) | Seen.inPlace;
    return true;
  }

  /** The tree has all names that the folder should have. */
  #isComplete(directory: number): boolean {
    const { tree } = this.#parts;
    return !tree.has(directory, LISTING_WANTED | NodeFlag.absent);
  }

  #isExcluded(directory: number, name: Uint8Array, isDirectory: boolean): boolean {
    const { tree, rules } = this.#parts;
    if (rules.isEmpty || tree.path(directory) === undefined) return false;
    return rules.excludes(this.#path(directory, name), isDirectory);
  }

  #path(directory: number, name: Uint8Array): Uint8Array {
    const above = this.#parts.tree.path(directory) ?? NO_NAME;
    return above.length === 0 ? name : Buffer.concat([above, SLASH, name]);
  }

  #remove(folder: OpenFolder, name: Uint8Array, isDirectory: boolean): void {
    const { root } = this.#parts;
    const nameZ = cString(name);
    this.removed += 1;
    folder.change();
    if (!isDirectory) {
      if (unlinkat(folder.fd, nameZ, 0) < 0 && unprotect(folder.fd, nameZ)) {
        unlinkat(folder.fd, nameZ, 0);
      }
      return;
    }
    // It may hold what has to come back.
    for (;;) {
      this.#trash += 1;
      const target = Buffer.from(`recovered-${this.#trash}`);
      const move = () =>
        renameat2(folder.fd, nameZ, root.trashFd, cString(target), RENAME_NOREPLACE);
      let result = move();
      if (result === -EEXIST) continue;
      if (result < 0 && unprotect(folder.fd, nameZ)) result = move();
      if (result < 0) return;
      this.#stack.push({ base: root.trashFd, above: undefined, name: target, node: 0 });
      return;
    }
  }
}

/** NUL-terminated. */
export function stagedName(ino: number): Uint8Array {
  return cString(`i${ino}`);
}
