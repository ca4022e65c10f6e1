import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { after, test } from "node:test";
import { TYPE_DIRECTORY, TYPE_REGULAR } from "../model/node-tree.ts";
import { OpKind, OpView } from "../model/op.ts";
import { evictStale } from "./stale-numbers.ts";
import { Tree } from "./tree.ts";

const home = mkdtempSync("/dev/shm/standin-stale-");
after(() => rmSync(home, { recursive: true, force: true }));

const [ROOT, DIRECTORY, FILE, UNKNOWN] = [2, 10, 20, 30];

function treeWithBoth(): Tree {
  const sizes = { buckets: 16, nodesMax: 100, linksMax: 100, heapUnits: 1000 };
  const tree = Tree.create(`${home}/tree`, [{ mount: 0, ino: ROOT }], sizes);
  tree.begin();
  tree.addLink(tree.addNode(0, DIRECTORY, TYPE_DIRECTORY, 0), tree.root(0), Buffer.from("d"));
  tree.addLink(tree.addNode(0, FILE, TYPE_REGULAR, 0), tree.root(0), Buffer.from("f"));
  tree.commit();
  return tree;
}

test("what an op shows to be another node by now is evicted, and nothing else", () => {
  const tree = treeWithBoth();
  const evicted = (kind: OpKind, ino: number, type: number, parents: [number, number?]) => {
    const op = new OpView(new ArrayBuffer(4096)).at(0);
    op.start(kind, 0, ino);
    op.mode = type << 12;
    [op.parent, op.newParent] = [parents[0], parents[1] ?? 0];
    const found: number[] = [];
    evictStale(tree, op, (node) => found.push(tree.ino(node)));
    return found;
  };
  const { create, link, rename, unlink, write } = OpKind;
  assert.deepEqual(evicted(create, UNKNOWN, TYPE_REGULAR, [DIRECTORY]), []);
  assert.deepEqual(evicted(create, FILE, TYPE_REGULAR, [ROOT]), [FILE], "it is new");
  assert.deepEqual(evicted(create, UNKNOWN, TYPE_REGULAR, [FILE]), [FILE], "it holds entries");
  assert.deepEqual(evicted(link, FILE, TYPE_REGULAR, [DIRECTORY]), []);
  assert.deepEqual(evicted(link, DIRECTORY, TYPE_REGULAR, [ROOT]), [DIRECTORY]);
  assert.deepEqual(evicted(rename, DIRECTORY, TYPE_DIRECTORY, [ROOT, ROOT]), []);
  assert.deepEqual(evicted(rename, DIRECTORY, TYPE_REGULAR, [ROOT, FILE]), [FILE, DIRECTORY]);
  assert.deepEqual(evicted(unlink, UNKNOWN, TYPE_REGULAR, [FILE]), [FILE]);
  assert.deepEqual(evicted(write, DIRECTORY, TYPE_REGULAR, [FILE]), [], "the mirror tells");
  tree.close();
});
