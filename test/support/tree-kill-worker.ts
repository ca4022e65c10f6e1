/** Works on a tree until it is killed; for tree.test.ts. */
import { TYPE_REGULAR } from "../../src/model/node-tree.ts";
import { Prng } from "../../src/base/prng.ts";
import { Tree } from "../../src/capture/tree.ts";

const [path = "", round = "0"] = process.argv.slice(2);
const tree = Tree.open(path, [{ mount: 0, ino: 2 }]);
const prng = new Prng(Number(round));
const root = tree.root(0);
process.stdout.write("working\n");

for (let lsn = tree.lsn + 1; ; lsn++) {
  const ino = 100 + (prng.uint32() % 5000);
  const name = Buffer.from(`${"n".repeat(prng.uint32() % 30)}${ino}-${lsn}`);
  const node = tree.find(0, ino);
  tree.begin();
  if (node === 0) tree.addLink(tree.addNode(0, ino, TYPE_REGULAR, 0x20), root, name);
  else if (prng.uint32() % 3 === 0) {
    tree.addLink(node, root, name);
    tree.clearFlags(node, 0x20);
  } else {
    tree.removeLink(tree.firstLink(node));
    if (tree.firstLink(node) === 0) tree.removeNode(node);
  }
  tree.commit(lsn);
}
