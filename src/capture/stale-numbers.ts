/**
 * The source gives the inode number of a node that is gone to the next one. A tree that missed it,
 * behind a gap, still has the old node by that number, perhaps of another type.
 */
import { type NodeTree, TYPE_DIRECTORY, TYPE_UNKNOWN } from "../model/node-tree.ts";
import { OpKind, type OpView } from "../model/op.ts";

/** Hands out what the op shows to be such a node. It must not be in the tree afterwards. */
export function evictStale(tree: NodeTree, op: OpView, evict: (node: number) => void): void {
  const { kind, mount } = op;
  const look = (ino: number, type: number): void => {
    const node = tree.find(mount, ino);
    const known = node === 0 ? TYPE_UNKNOWN : tree.type(node);
    if (known !== TYPE_UNKNOWN && known !== type) evict(node);
  };
  if (kind >= OpKind.create && kind <= OpKind.rename) look(op.parent, TYPE_DIRECTORY);
  if (kind === OpKind.rename) look(op.newParent, TYPE_DIRECTORY);
  if (kind === OpKind.link || kind === OpKind.rename) look(op.node, op.mode >>> 12);
  if (kind !== OpKind.create && kind !== OpKind.tmpfile) return;
  const node = tree.find(mount, op.node);
  if (node !== 0) evict(node);
}
