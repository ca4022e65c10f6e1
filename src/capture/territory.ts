/**
 * What the tree knows of a place or a node: whether it is ours to copy, and whether the replica has
 * it.
 */
import { NodeFlag, type NodeTree } from "../model/node-tree.ts";
import type { Rules } from "../model/rules.ts";

export class Territory {
  readonly #tree: NodeTree;
  readonly #rules: Rules;

  constructor(tree: NodeTree, rules: Rules) {
    this.#tree = tree;
    this.#rules = rules;
  }

  /** The directory, or 0 when an entry of that name in it is none of ours. */
  known(mount: number, parent: number, name: Uint8Array, isDirectory: boolean): number {
    const directory = this.#tree.find(mount, parent);
    if (directory === 0 || this.#rules.isEmpty) return directory;
    const path = this.#tree.path(directory);
    if (path === undefined) return directory;
    return this.#rules.excludes(joined(path, name), isDirectory) ? 0 : directory;
  }

  isPresent(node: number): boolean {
    return !this.#tree.has(node, NodeFlag.absent);
  }

  presentDirectory(mount: number, ino: number): number {
    const directory = this.#tree.find(mount, ino);
    return directory !== 0 && this.isPresent(directory) ? directory : 0;
  }

  /** The node's link in the private directory, or 0. */
  privateLink(node: number): number {
    const tree = this.#tree;
    const home = tree.privateDirectory(tree.mount(node));
    for (let link = tree.firstLink(node); link !== 0; link = tree.nextLink(link)) {
      if (tree.directoryOf(link) === home) return link;
    }
    return 0;
  }

  /**
   * The link that the op is about: at its place, or in the private directory when its place was not
   * known.
   */
  linkOfNode(directory: number, name: Uint8Array, node: number): number {
    if (node === 0) return 0;
    const link = directory === 0 ? 0 : this.#tree.lookup(directory, name);
    if (link !== 0 && this.#tree.nodeOf(link) === node) return link;
    return this.privateLink(node);
  }
}

function joined(path: Uint8Array, name: Uint8Array): Uint8Array {
  return path.length === 0 ? name : Buffer.concat([path, Uint8Array.of(0x2f), name]);
}
