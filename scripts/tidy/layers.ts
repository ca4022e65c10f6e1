import { folderOf, productSources, type Reference, resolve } from "./tree.ts";
import type { Rule, Source, Tree, Violation } from "./tree.ts";

/**
 * The folders of `src/`, lowest first. A file may import from its own folder and from lower rows;
 * folders in one row do not know each other and meet in `agent/`.
 */
const LAYERS: readonly (readonly string[])[] = [
  ["base"],
  ["platform"],
  ["model"],
  ["protocol"],
  ["trust"],
  ["fuse"],
  ["journal"],
  ["capture", "replication", "mirror", "apply", "failover"],
  ["adapters"],
  ["applications"],
  ["preflight"],
  ["agent"],
  ["api", "cli"],
  ["main.ts", "index.ts"],
];

/** Folders whose code decides and never acts, so that a simulator can drive it. */
export const PURE_FOLDERS: ReadonlySet<string> = new Set(["base", "model", "protocol"]);

/** Could be lifted out as a package of its own, so it may lean on nothing else. */
const FUSE_IMPORTS: ReadonlySet<string> = new Set(["base", "platform"]);

const RANKS = new Map(LAYERS.flatMap((row, rank) => row.map((folder) => [folder, rank] as const)));

/** Imports go downward only. */
export const layersRule: Rule = (tree) =>
  productSources(tree).flatMap((source) => [
    ...unknownFolder(source),
    ...source.references.flatMap((reference) => layerViolation(tree, source, reference)),
  ]);

function unknownFolder({ path }: Source): Violation[] {
  if (RANKS.has(folderOf(path))) return [];
  const message = `src/${folderOf(path)} has no layer: move the file, or add its folder to LAYERS`;
  return [{ path, message: `${message} in scripts/tidy/layers.ts and to docs/ARCHITECTURE.md` }];
}

function layerViolation(tree: Tree, source: Source, reference: Reference): Violation[] {
  const target = resolve(tree, source, reference.specifier);
  if (target === undefined) return [];
  const why = target.path.startsWith("src/")
    ? whyForbidden(source.path, target.path)
    : "the product never imports tests, scripts or benchmarks: move what both need into src/";
  if (why === undefined) return [];
  return [{ path: source.path, line: reference.line, message: `imports ${target.path}: ${why}` }];
}

/** Why one file of the product may not import another, or undefined when it may. */
function whyForbidden(from: string, to: string): string | undefined {
  const [fromFolder, toFolder] = [folderOf(from), folderOf(to)];
  if (fromFolder === toFolder) return whyForbiddenInside(fromFolder, from, to);
  const [fromRank, toRank] = [RANKS.get(fromFolder) ?? 0, RANKS.get(toFolder) ?? 0];
  if (PURE_FOLDERS.has(fromFolder) && !PURE_FOLDERS.has(toFolder)) {
    return `${fromFolder}/ is pure and imports pure folders only: pass the value in`;
  }
  if (fromFolder === "fuse" && !FUSE_IMPORTS.has(toFolder)) {
    return "fuse/ imports base/ and platform/ only: pass a handler in from the layer above";
  }
  if (toRank === fromRank) {
    return `${fromFolder}/ is of the same layer: join them in agent/, or move down what they share`;
  }
  if (toRank > fromRank) {
    return `${toFolder}/ is above ${fromFolder}/: declare an interface here, implement it there`;
  }
  return undefined;
}

function whyForbiddenInside(folder: string, from: string, to: string): string | undefined {
  if (folder !== "adapters") return undefined;
  const [fromAdapter, toAdapter] = [from.split("/")[2], to.split("/")[2]];
  if (fromAdapter === toAdapter) return undefined;
  return "an adapter imports its port and no other adapter: move what both need into platform/";
}

/** No file can reach itself, not even through types: such files are one file in two pieces. */
export const cyclesRule: Rule = (tree) => {
  const graph = new Map(
    productSources(tree).map((source) => [source.path, importedPaths(tree, source)]),
  );
  return stronglyConnected(graph).map((cycle) => ({
    path: cycle[0]!,
    message: `import cycle of ${cycle.join(", ")}: move what they share into a file of its own`,
  }));
};

function importedPaths(tree: Tree, source: Source): string[] {
  return source.references
    .filter((reference) => reference.isImport)
    .flatMap((reference) => resolve(tree, source, reference.specifier)?.path ?? []);
}

/** Groups of two or more files that all reach each other, and files that import themselves. */
function stronglyConnected(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const reachable = new Map([...graph.keys()].map((path) => [path, reachFrom(graph, path)]));
  const seen = new Set<string>();
  const groups: string[][] = [];
  for (const path of [...graph.keys()].sort()) {
    if (seen.has(path) || !reachable.get(path)!.has(path)) continue;
    const group = [...reachable.get(path)!].filter((other) => reachable.get(other)?.has(path));
    for (const member of group) seen.add(member);
    groups.push(group.sort());
  }
  return groups;
}

/** Every file that a file reaches in one step or more. */
function reachFrom(graph: ReadonlyMap<string, readonly string[]>, start: string): Set<string> {
  const reached = new Set<string>();
  const queue = [...(graph.get(start) ?? [])];
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    queue.push(...(graph.get(path) ?? []));
  }
  return reached;
}

/** Nothing lies about that neither the program nor a test uses. */
export const deadFilesRule: Rule = (tree) => {
  const graph = new Map(
    [...tree.values()].map((source) => [source.path, referencedPaths(tree, source)]),
  );
  const roots = [...tree.keys()].filter(isRoot);
  const alive = new Set(roots.flatMap((root) => [root, ...reachFrom(graph, root)]));
  return [...tree.keys()]
    .filter((path) => path.startsWith("src/") && !alive.has(path))
    .map((path) => ({
      path,
      message: "nothing uses this file: delete it, or import it and give it a test",
    }));
};

function isRoot(path: string): boolean {
  return (
    /^src\/(?:main|index)\.ts$/.test(path) ||
    /\.(?:test|fuzz|bench)\.ts$/.test(path) ||
    path.endsWith("-worker.ts")
  );
}

function referencedPaths(tree: Tree, source: Source): string[] {
  return source.references.flatMap(({ specifier }) => resolve(tree, source, specifier)?.path ?? []);
}
