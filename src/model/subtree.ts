/** Work on whole subtrees of a {@link NodeTree}, in steps that are each safe against a kill. */
import { NodeFlag, type NodeTree, TYPE_DIRECTORY } from "./node-tree.ts";

/**
 * Removes everything below `directory` from the tree, deepest first, one name a transaction; nodes
 * that have another name elsewhere stay. `onRemoved` hears of each node that is gone. Repeating it
 * after a kill completes it.
 */
export function removeBelow(
  tree: NodeTree,
  directory: number,
  onRemoved: (node: number) => void,
): void {
  let at = directory;
  for (;;) {
    const link = tree.firstChild(at);
    if (link === 0) {
      if (at === directory) return;
      const own = tree.firstLink(at);
      const parent = tree.directoryOf(own);
      removeName(tree, own, onRemoved);
      at = parent;
      continue;
    }
    const node = tree.nodeOf(link);
    if (tree.firstChild(node) !== 0) at = node;
    else removeName(tree, link, onRemoved);
  }
}

function removeName(tree: NodeTree, link: number, onRemoved: (node: number) => void): void {
  const node = tree.nodeOf(link);
  const isLast = tree.firstLink(node) === link && tree.nextLink(link) === 0;
  if (isLast) onRemoved(node);
  tree.begin();
  tree.removeLink(link);
  if (isLast) tree.removeNode(node);
  tree.commit();
}

/**
 * Calls `each` for every link below `directory`, directories before what they hold. `each` must not
 * change links.
 */
export function walkBelow(tree: NodeTree, directory: number, each: (link: number) => void): void {
  let link = tree.firstChild(directory);
  while (link !== 0) {
    each(link);
    const below = tree.firstChild(tree.nodeOf(link));
    if (below !== 0) {
      link = below;
      continue;
    }
    while (link !== 0 && tree.nextSibling(link) === 0) {
      const parent = tree.directoryOf(link);
      link = parent === directory ? 0 : tree.firstLink(parent);
    }
    if (link !== 0) link = tree.nextSibling(link);
  }
}

/**
 * Marks the node, if it is a directory, and all directories below it: their listings are to be
 * asked for. One a transaction; repeating it after a kill completes it.
 */
export function wantListings(tree: NodeTree, directory: number): void {
  const want = (node: number): void => {
    if (tree.type(node) !== TYPE_DIRECTORY) return;
    tree.change(() => tree.setFlags(node, NodeFlag.wantListing));
  };
  want(directory);
  walkBelow(tree, directory, (link) => want(tree.nodeOf(link)));
}
