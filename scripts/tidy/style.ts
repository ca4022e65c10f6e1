import { lineAt } from "./tree.ts";
import type { Rule, Source, Tree, Violation } from "./tree.ts";

interface Ban {
  readonly pattern: RegExp;
  readonly message: string;
}

/** Each has a class of one letter in it, so that this file does not break its own rule. */
const LEFTOVERS = /\b(?:T[O]DO|FIX[M]E|X[X]X)\b/g;

const BANS: readonly Ban[] = [
  {
    pattern: /^[ \t]*(?:export\s+)?(?:declare\s+)?(?:const\s+)?enum\s+\w/gm,
    message: "enum does not erase: use a union of string literals",
  },
  {
    pattern: /^[ \t]*(?:export\s+)?(?:declare\s+)?namespace\s+\w/gm,
    message: "namespace does not erase: use a module",
  },
  {
    pattern: /^[ \t]*export\s+default\b/gm,
    message: "default export: give it a name, so that it is called the same everywhere",
  },
];

/** Words of the language that this code base does without. */
export const bannedSyntaxRule: Rule = (tree) =>
  everySource(tree, (source) => BANS.flatMap((ban) => findBan(source, ban)));

function findBan({ path, code, text }: Source, { pattern, message }: Ban): Violation[] {
  return [...code.matchAll(pattern)].map((match) => ({
    path,
    line: lineAt(text, match.index + match[0].length),
    message,
  }));
}

/** Unfinished work lives in the issue tracker, where it has an owner, and not in a comment. */
export const leftoversRule: Rule = (tree) =>
  everySource(tree, ({ path, text }) =>
    [...text.matchAll(LEFTOVERS)].map((match) => ({
      path,
      line: lineAt(text, match.index),
      message: `${match[0]}: do it now, or open an issue and say in the comment what holds today`,
    })),
  );

const FILE_NAME =
  /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.(?:sim|mount|e2e))?(?:\.(?:test|fuzz|bench|d))?\.ts$/;
const FOLDER_NAME = /^[a-z0-9]+(?:-[a-z0-9]+)*$/;

export const fileNamesRule: Rule = (tree) =>
  everySource(tree, ({ path }) => {
    const names = path.split("/");
    const isKebab = FILE_NAME.test(names.pop()!) && names.every((name) => FOLDER_NAME.test(name));
    if (isKebab) return [];
    const message = "not kebab-case: rename it like fault-injector.ts or fault-injector.test.ts";
    return [{ path, message }];
  });

function everySource(tree: Tree, check: (source: Source) => Violation[]): Violation[] {
  return [...tree.values()].flatMap(check);
}
