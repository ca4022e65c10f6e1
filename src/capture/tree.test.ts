import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { NodeFlag, TYPE_DIRECTORY, TYPE_REGULAR, WANTED } from "../model/node-tree.ts";
import { Tree } from "./tree.ts";
import { TreeFullError } from "./tree-error.ts";
import { checkTree } from "../../test/support/tree-check.ts";

const home = mkdtempSync("/dev/shm/standin-tree-");
after(() => rmSync(home, { recursive: true, force: true }));
const ROOTS = [{ mount: 0, ino: 2 }];
const SMALL = { buckets: 16, nodesMax: 2000, linksMax: 3000, heapUnits: 20_000 };
let files = 0;

function newTree(options = SMALL): Tree {
  files += 1;
  return Tree.create(`${home}/tree-${files}`, ROOTS, options);
}

const name = fc.uint8Array({ minLength: 1, maxLength: 40 });

test("Tree finds again what was put in, and gives back paths", () => {
  const tree = newTree();
  tree.begin();
  const directory = tree.addNode(0, 2 ** 40 + 7, TYPE_DIRECTORY, NodeFlag.wantNode);
  tree.addLink(directory, tree.root(0), Buffer.from("dir"));
  const file = tree.addNode(3, 9, TYPE_REGULAR, 0);
  const link = tree.addLink(file, directory, Buffer.from("file"));
  tree.commit(17);
  assert.equal(tree.find(0, 2 ** 40 + 7), directory);
  assert.equal(tree.find(3, 9), file);
  assert.equal(tree.find(0, 9), 0);
  assert.equal(tree.mount(file), 3);
  assert.equal(tree.ino(directory), 2 ** 40 + 7);
  assert.equal(Buffer.from(tree.pathOfLink(link) ?? []).toString(), "");
  assert.equal(Buffer.from(tree.path(directory) ?? []).toString(), "dir");
  assert.equal(tree.lookup(directory, Buffer.from("file")), link);
  assert.equal(tree.lsn, 17);
  assert.equal(tree.wantedCount, 2);
});

test("Tree forgets a transaction that was rolled back, names and all", () => {
  const tree = newTree();
  tree.begin();
  const file = tree.addNode(0, 5, TYPE_REGULAR, 0);
  tree.addLink(file, tree.root(0), Buffer.from("a name of some length"));
  tree.commit(1);
  tree.begin();
  tree.removeLink(tree.firstLink(file));
  tree.addLink(file, tree.root(0), Buffer.from("b name of same length"));
  tree.rollback();
  const link = tree.firstLink(file);
  assert.equal(Buffer.from(tree.nameOf(link)).toString(), "a name of some length");
  assert.equal(tree.lookup(tree.root(0), Buffer.from("b name of same length")), 0);
  checkTree(tree, 0);
});

test("Tree says that it is full instead of writing beyond its end", () => {
  const tree = newTree({ ...SMALL, nodesMax: 10 });
  assert.throws(() => {
    for (let ino = 100; ino < 120; ino++) {
      tree.begin();
      tree.addLink(tree.addNode(0, ino, TYPE_REGULAR, 0), tree.root(0), Buffer.from(`${ino}`));
      tree.commit();
    }
  }, TreeFullError);
  tree.rollback();
  checkTree(tree, 0);
});

interface Model {
  /** Names by "directory ino/name". */
  readonly links: Map<string, number>;
  readonly directories: Set<number>;
}

const step = fc.record({
  kind: fc.constantFrom("add", "add", "directory", "link", "remove", "move", "abort"),
  pick: fc.nat(10_000),
  other: fc.nat(10_000),
  name,
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** One change of the tree and of the model. */
function perform(tree: Tree, model: Model, change: Step, ino: number): void {
  const directories = [...model.directories];
  const directoryIno = directories[change.pick % directories.length] as number;
  const directory = tree.find(0, directoryIno);
  const key = `${directoryIno}/${Buffer.from(change.name).toString("latin1")}`;
  const links = [...model.links];
  const picked = links.length === 0 ? undefined : links[change.other % links.length];
  const isFree = !model.links.has(key);
  if (change.kind === "abort") {
    tree.begin();
    if (isFree) {
      tree.addLink(tree.addNode(0, ino, TYPE_REGULAR, WANTED), directory, change.name);
    }
    if (picked !== undefined) tree.removeLink(linkOf(tree, picked[0]));
    tree.rollback();
  } else if (change.kind === "add" || change.kind === "directory") {
    if (!isFree) return;
    const isDirectory = change.kind === "directory";
    tree.begin();
    const node = tree.addNode(0, ino, isDirectory ? TYPE_DIRECTORY : TYPE_REGULAR, 0);
    tree.addLink(node, directory, change.name);
    tree.commit();
    model.links.set(key, ino);
    if (isDirectory) model.directories.add(ino);
  } else if (picked !== undefined)
    performOn(tree, model, change, { key, isFree, picked, directory });
}

function performOn(
  tree: Tree,
  model: Model,
  change: Step,
  at: { key: string; isFree: boolean; picked: [string, number]; directory: number },
): void {
  const [pickedKey, ino] = at.picked;
  const node = tree.find(0, ino);
  const link = linkOf(tree, pickedKey);
  const isDirectory = model.directories.has(ino);
  if (change.kind === "link") {
    if (!at.isFree || isDirectory) return;
    tree.begin();
    tree.addLink(node, at.directory, change.name);
    tree.commit();
    model.links.set(at.key, ino);
    return;
  }
  if (change.kind === "move") {
    if (!at.isFree || tree.isBelow(at.directory, node)) return;
    tree.begin();
    tree.removeLink(link);
    tree.addLink(node, at.directory, change.name);
    tree.commit();
    model.links.delete(pickedKey);
    model.links.set(at.key, ino);
    return;
  }
  if (tree.firstChild(node) !== 0) return;
  tree.begin();
  tree.removeLink(link);
  if (tree.firstLink(node) === 0) {
    tree.removeNode(node);
    model.directories.delete(ino);
  }
  tree.commit();
  model.links.delete(pickedKey);
}

function linkOf(tree: Tree, key: string): number {
  const cut = key.indexOf("/");
  const directory = tree.find(0, Number(key.slice(0, cut)));
  return tree.lookup(directory, Buffer.from(key.slice(cut + 1), "latin1"));
}

test("Tree agrees with a plain map, whatever is done to it, and when opened anew", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const tree = newTree();
      const model: Model = { links: new Map(), directories: new Set([2]) };
      let ino = 10;
      for (const change of steps) perform(tree, model, change, ino++);
      const reopened = Tree.open(`${home}/tree-${files}`, ROOTS);
      for (const current of [tree, reopened]) {
        checkTree(current, 0);
        assert.equal(current.linkCount, model.links.size);
        for (const [key, expected] of model.links) {
          const link = linkOf(current, key);
          assert.notEqual(link, 0, key);
          assert.equal(current.ino(current.nodeOf(link)), expected);
        }
      }
      tree.close();
      reopened.close();
    }),
    { numRuns: 60 },
  );
});

test("Tree is whole after SIGKILL at any instant", async () => {
  const path = `${home}/killed`;
  Tree.create(path, ROOTS, { buckets: 64, nodesMax: 20_000, linksMax: 30_000, heapUnits: 200_000 });
  const worker = fileURLToPath(new URL("../../test/support/tree-kill-worker.ts", import.meta.url));
  let lsn = 0;
  for (let round = 0; round < 8; round++) {
    const child = spawn(process.execPath, [worker, path, String(round)], { stdio: "pipe" });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    await delay(20 + ((round * 37) % 90));
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    const tree = Tree.open(path, ROOTS);
    // Whole ops, and nothing between.
    checkTree(tree, 0);
    assert.ok(tree.lsn >= lsn);
    lsn = tree.lsn;
    tree.close();
  }
  assert.ok(lsn > 1000, `the worker came to ${lsn}`);
});
