/**
 * What a replica lacks when its source is lost in the middle of a repair: files that were found
 * different, or have come from where nothing is copied, and that the source was asked for. A
 * promotion cannot bring them; it says which they are.
 */
import { printableName } from "../../base/bytes.ts";
import { TreeError } from "../../capture/tree-error.ts";
import { Tree } from "../../capture/tree.ts";
import { type NodeTree, TYPE_DIRECTORY, WANTED } from "../../model/node-tree.ts";
import { existsSync } from "../../platform/files.ts";
import type { StreamMount } from "../../protocol/stream-messages.ts";

export interface Unfinished {
  readonly count: number;
  /**
   * The first of them, below the folder that stands for their mount. Behind a directory there is a
   * slash: what it holds is not known to be right.
   */
  readonly paths: readonly string[];
}

const NOTHING: Unfinished = { count: 0, paths: [] };
const LISTED_MAX = 1000;

/**
 * `folders`: for each mount. The tree must not be in use. Null: it cannot be read, and nothing is
 * known.
 */
export function findUnfinished(
  treePath: string,
  mounts: readonly StreamMount[],
  folders: readonly string[],
): Unfinished | null {
  if (!existsSync(treePath)) return null;
  let tree: Tree;
  try {
    tree = Tree.open(
      treePath,
      mounts.map(({ index, rootIno }) => ({ mount: index, ino: rootIno })),
    );
  } catch (error) {
    if (error instanceof TreeError) return null;
    throw error;
  }
  try {
    const folderOf = new Map(mounts.map(({ index }, i) => [index, folders[i] ?? ""]));
    return tree.wantedCount === 0 ? NOTHING : listWanted(tree, folderOf);
  } finally {
    tree.close();
  }
}

function listWanted(tree: NodeTree, folderOf: ReadonlyMap<number, string>): Unfinished {
  let count = 0;
  const paths: string[] = [];
  for (let node = 1; node < tree.nodeHigh; node++) {
    if (!tree.exists(node) || !tree.has(node, WANTED)) continue;
    const path = tree.path(node);
    // Without a name: nobody can open it any more.
    if (path === undefined) continue;
    count += 1;
    if (paths.length >= LISTED_MAX) continue;
    const below = path.length === 0 ? "" : `/${printableName(path)}`;
    const end = tree.type(node) === TYPE_DIRECTORY ? "/" : "";
    paths.push(`${folderOf.get(tree.mount(node))}${below}${end}`);
  }
  return { count, paths };
}
