import { PURE_FOLDERS } from "./layers.ts";
import { folderOf, lineAt, productSources } from "./tree.ts";
import type { Rule, Source, Violation } from "./tree.ts";

/** Modules through which a file reaches the operating system. */
const SYSTEM_MODULES: ReadonlySet<string> = new Set([
  "koffi",
  "node:child_process",
  "node:cluster",
  "node:dgram",
  "node:dns",
  "node:dns/promises",
  "node:fs",
  "node:fs/promises",
  "node:http",
  "node:http2",
  "node:https",
  "node:net",
  "node:os",
  "node:timers",
  "node:timers/promises",
  "node:tls",
  "node:worker_threads",
]);

/** What makes the same call give two answers. Not after a dot: `clock.setTimeout` is injected. */
const NONDETERMINISM = new RegExp(
  [
    String.raw`(?<![.\w$#])(?:setTimeout|setInterval|setImmediate)\s*\(`,
    String.raw`(?<![.\w$#])Date\.now\b`,
    String.raw`(?<![.\w$#])new Date\s*(?:\(\s*\)|[^\s(])`,
    String.raw`(?<![.\w$#])Math\.random\b`,
    String.raw`(?<![.\w$#])performance\.(?:now|timeOrigin)\b`,
    String.raw`\bAbortSignal\.timeout\b`,
  ].join("|"),
  "g",
);

/** What a pure folder may not touch besides: the process and anything that it could ask of it. */
const IMPURE = /(?<![.\w$#])(?:Date\b|process\.|fetch\s*\(|crypto\.|queueMicrotask\s*\()/g;

/** base/, model/ and protocol/ compute: no module of Node, no clock, no timer, no chance. */
export const purityRule: Rule = (tree) =>
  productSources(tree)
    .filter((source) => PURE_FOLDERS.has(folderOf(source.path)))
    .flatMap((source) => [
      ...importsWhere(source, (name) => name.startsWith("node:") || SYSTEM_MODULES.has(name), pure),
      ...matches(source, NONDETERMINISM, pure),
      ...matches(source, IMPURE, pure),
    ]);

function pure(found: string, source: Source): string {
  return `uses ${found}, but ${folderOf(source.path)}/ is pure: take the value as an argument`;
}

/** Only a few folders touch the system; the others are handed what those make of it. */
export const systemRule: Rule = (tree) =>
  productSources(tree)
    .filter(({ path }) => !PURE_FOLDERS.has(folderOf(path)) && !maySeeSystem(path))
    .flatMap((source) => [
      ...importsWhere(source, (name) => isForbiddenModule(source.path, name), system),
      ...matches(source, NONDETERMINISM, system),
    ]);

function maySeeSystem(path: string): boolean {
  return /^src\/(?:platform\/|adapters\/|fuse\/mount)/.test(path);
}

function isForbiddenModule(path: string, name: string): boolean {
  if (name === "node:worker_threads" && path.endsWith("-worker.ts")) return false;
  return SYSTEM_MODULES.has(name);
}

function system(found: string): string {
  return (
    `uses ${found}, which is for platform/, adapters/ and fuse/mount* only: ` +
    "add what you need to platform/ (with its in-memory twin) and have it passed in"
  );
}

type Explain = (found: string, source: Source) => string;

function importsWhere(
  source: Source,
  isForbidden: (name: string) => boolean,
  explain: Explain,
): Violation[] {
  return source.references
    .filter((reference) => reference.isImport && isForbidden(reference.specifier))
    .map(({ specifier, line }) => ({
      path: source.path,
      line,
      message: explain(specifier, source),
    }));
}

function matches(source: Source, pattern: RegExp, explain: Explain): Violation[] {
  return [...source.code.matchAll(pattern)].map((match) => ({
    path: source.path,
    line: lineAt(source.text, match.index),
    message: explain(match[0].replace(/[\s(]+$/, ""), source),
  }));
}
