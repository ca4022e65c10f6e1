import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";

import { maskCode } from "./mask-code.ts";

/** One TypeScript file as the rules see it. */
export interface Source {
  /** Relative to the repository, with slashes: `src/base/assert.ts`. */
  readonly path: string;
  readonly text: string;
  /** `text` with the inside of comments, strings and regular expressions blanked out. */
  readonly code: string;
  readonly references: readonly Reference[];
}

/** A place where a file names another: an import, a re-export, or a path for a worker. */
export interface Reference {
  readonly specifier: string;
  readonly line: number;
  /** False for a path in a string, such as `new URL("./engine.ts", import.meta.url)`. */
  readonly isImport: boolean;
}

export type Tree = ReadonlyMap<string, Source>;

export interface Violation {
  readonly path: string;
  readonly line?: number;
  /** What is wrong and what to do about it. */
  readonly message: string;
}

export type Rule = (tree: Tree) => Violation[];

const FOLDERS = ["src", "test", "scripts", "bench"];
const SKIPPED = new Set(["node_modules", "testdata"]);

export function readTree(root: string): Tree {
  const paths = FOLDERS.flatMap((folder) => listSources(root, folder));
  return treeOf(paths.map((path) => [path, readFileSync(join(root, path), "utf8")]));
}

/** Builds a tree from texts by path, which is how the rules' own tests make small ones. */
export function treeOf(files: Iterable<readonly [path: string, text: string]>): Tree {
  const tree = new Map<string, Source>();
  for (const [path, text] of files) {
    const code = maskCode(text);
    tree.set(path, { path, text, code, references: referencesOf(text, code) });
  }
  return tree;
}

function listSources(root: string, folder: string): string[] {
  let entries: ReturnType<typeof readFolder>;
  try {
    entries = readFolder(join(root, folder));
  } catch {
    return []; // not every folder exists in every state of the repository
  }
  return entries.flatMap((entry) => {
    if (SKIPPED.has(entry.name)) return [];
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return listSources(root, path);
    return entry.name.endsWith(".ts") ? [path] : [];
  });
}

function readFolder(path: string) {
  return readdirSync(path, { withFileTypes: true });
}

/** Quotes survive masking, so imports are found in the code and their names read from the text. */
function referencesOf(text: string, code: string): Reference[] {
  const imports = /\b(?:import|export)\b[^;"'`]*?\bfrom\s*["']|\bimport\s*\(?\s*["']/g;
  const importOffsets = new Set([...code.matchAll(imports)].map((m) => m.index + m[0].length));
  const references: Reference[] = [];
  for (const match of code.matchAll(/(["'])( *)\1/g)) {
    const offset = match.index + 1;
    const specifier = text.slice(offset, offset + match[2]!.length);
    const isImport = importOffsets.has(offset);
    if (!isImport && !/^\.\.?\/.*\.ts$/.test(specifier)) continue;
    references.push({ specifier, line: lineAt(text, offset), isImport });
  }
  return references;
}

export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at !== -1 && at < offset; at = text.indexOf("\n", at + 1)) {
    line++;
  }
  return line;
}

/** The file of the tree that a relative reference means, if it is there. */
export function resolve(tree: Tree, from: Source, specifier: string): Source | undefined {
  if (!specifier.startsWith(".")) return undefined;
  return tree.get(posix.join(posix.dirname(from.path), specifier));
}

/** Unit, mount and end-to-end tests, fuzzers and benchmarks, wherever they lie. */
export function isTest(path: string): boolean {
  return /\.(?:test|fuzz|bench)\.ts$/.test(path) || !path.startsWith("src/");
}

/** What ships: the files that the rules about layers and effects are for. */
export function productSources(tree: Tree): Source[] {
  return [...tree.values()].filter((source) => !isTest(source.path));
}

/** `src/adapters/dns/updater.ts` is in the folder `adapters`; `src/main.ts` in `main.ts`. */
export function folderOf(path: string): string {
  return path.split("/")[1]!;
}
