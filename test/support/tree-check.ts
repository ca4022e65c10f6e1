/**
 * Every invariant of a tree, checked by looking at all of it: for tests, and for whoever doubts a
 * tree.
 */
import { assert } from "../../src/base/assert.ts";
import { type NodeTree, TYPE_DIRECTORY, WANTED } from "../../src/model/node-tree.ts";

/** @throws {AssertionError} */
export function checkTree(tree: NodeTree, mount: number): void {
  let nodes = 0;
  let links = 0;
  let wanted = 0;
  let directories = 0;
  for (let node = 1; node < tree.nodeHigh; node++) {
    if (!tree.exists(node)) continue;
    nodes += 1;
    if (tree.has(node, WANTED)) wanted += 1;
    if (tree.type(node) === TYPE_DIRECTORY) directories += 1;
    assert(tree.find(tree.mount(node), tree.ino(node)) === node, `node ${node} is not found`);
    links += checkLinks(tree, node, mount);
    checkChildren(tree, node);
  }
  assert(nodes === tree.nodeCount, `there are ${nodes} nodes, not ${tree.nodeCount}`);
  assert(links === tree.linkCount, `there are ${links} links, not ${tree.linkCount}`);
  assert(wanted === tree.wantedCount, `${wanted} nodes are wanted, not ${tree.wantedCount}`);
  assert(directories === tree.directoryCount, `there are ${directories} directories`);
}

function checkLinks(tree: NodeTree, node: number, mount: number): number {
  let count = 0;
  for (let link = tree.firstLink(node); link !== 0; link = tree.nextLink(link)) {
    assert(tree.nodeOf(link) === node, `link ${link} is of another node`);
    assert(tree.exists(tree.directoryOf(link)), `link ${link} stands in no directory`);
    const found = tree.lookup(tree.directoryOf(link), tree.nameOf(link));
    assert(found === link, `link ${link} is not found by its name`);
    count += 1;
    assert(count < 1_000_000, `the links of node ${node} have no end`);
  }
  const isAnchor = node === tree.root(mount) || tree.ino(node) === 0;
  assert(isAnchor || count > 0, `node ${node} has no name`);
  return count;
}

function checkChildren(tree: NodeTree, directory: number): void {
  let count = 0;
  for (let link = tree.firstChild(directory); link !== 0; link = tree.nextSibling(link)) {
    assert(tree.directoryOf(link) === directory, `link ${link} is of another directory`);
    count += 1;
    assert(count < 10_000_000, `the children of ${directory} have no end`);
  }
}
