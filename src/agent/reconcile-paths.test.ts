/** After a power cut each replica of a job gets the names of its own path, and no other's. */
import assert from "node:assert/strict";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { after, test } from "node:test";

import { openReplicaRoot, type ReplicaRoot } from "../apply/private-area.ts";
import { reconcile } from "../apply/reconciler.ts";
import { Tree } from "../capture/tree.ts";
import { TYPE_DIRECTORY, TYPE_REGULAR } from "../model/node-tree.ts";
import { Rules } from "../model/rules.ts";

const home = mkdtempSync("/dev/shm/standin-reconcile-");
after(() => rmSync(home, { recursive: true, force: true }));

const MOUNTS = [0, 1];
const SMALL = { buckets: 16, nodesMax: 200, linksMax: 300, heapUnits: 20_000 };
/** On the source; the same numbers in both paths, which lie on different file systems there. */
const INO = { root: 2, folder: 11, file: 12 };

function replicaOf(mount: number): string {
  return `${home}/replica-${mount}`;
}

/** The tree of a checkpoint, in which each path has `folder/file`. */
function checkpointed(roots: ReadonlyMap<number, ReplicaRoot>): Tree {
  const treeRoots = MOUNTS.map((mount) => ({ mount, ino: INO.root }));
  const tree = Tree.create(`${home}/tree`, treeRoots, SMALL);
  for (const mount of MOUNTS) {
    const at = replicaOf(mount);
    tree.begin();
    const folder = tree.addNode(mount, INO.folder, TYPE_DIRECTORY, 0);
    tree.addLink(folder, tree.root(mount), Buffer.from("folder"));
    const file = tree.addNode(mount, INO.file, TYPE_REGULAR, 0);
    tree.addLink(file, folder, Buffer.from("file"));
    tree.commit();
    const area = roots.get(mount)?.areaPath;
    tree.setReplicaIno(tree.root(mount), statSync(at).ino);
    tree.setReplicaIno(tree.privateDirectory(mount), statSync(`${area}/nameless`).ino);
    tree.setReplicaIno(folder, statSync(`${at}/folder`).ino);
    tree.setReplicaIno(file, statSync(`${at}/folder/file`).ino);
  }
  return tree;
}

test("reconcile() brings the names of each of several paths back", () => {
  for (const mount of MOUNTS) {
    mkdirSync(`${replicaOf(mount)}/folder`, { recursive: true });
    writeFileSync(`${replicaOf(mount)}/folder/file`, `of path ${mount}`);
  }
  const roots = new Map(MOUNTS.map((mount) => [mount, openReplicaRoot(replicaOf(mount))]));
  const tree = checkpointed(roots);
  const [first = "", second = ""] = MOUNTS.map(replicaOf);
  renameSync(`${first}/folder/file`, `${first}/renamed`);
  renameSync(`${second}/folder`, `${second}/moved`);
  writeFileSync(`${second}/moved/file2`, "made after the checkpoint");
  const found = reconcile({
    tree,
    roots,
    rules: new Rules([]),
    orphans: "aside",
    madeAtSec: Math.floor(Date.now() / 1000) - 60,
  });
  assert.equal(found.isForeign, false);
  assert.equal(found.missing, 0);
  assert.ok(found.moved >= 2);
  for (const mount of MOUNTS) {
    assert.equal(readFileSync(`${replicaOf(mount)}/folder/file`, "utf8"), `of path ${mount}`);
  }
  assert.throws(() => statSync(`${second}/folder/file2`), "not in the tree of the checkpoint");
});
