import { functionsOf } from "./functions.ts";
import { isTest } from "./tree.ts";
import type { Rule, Source, Violation } from "./tree.ts";

export const FILE_LINES_MAX = 500;
export const LINE_COLUMNS_MAX = 100;
export const FUNCTION_LINES_MAX = 70;

/** Known functions that are too long, `path#name` to length. They may shrink, and never grow. */
export type Ratchet = Readonly<Record<string, number>>;

export const fileLengthRule: Rule = (tree) =>
  [...tree.values()].flatMap(({ path, text }) => {
    const lineCount = text.split("\n").length - 1;
    if (lineCount <= FILE_LINES_MAX) return [];
    const message = `${lineCount} lines, at most ${FILE_LINES_MAX}: split it by concept`;
    return [{ path, message }];
  });

/** Code is the formatter's matter; this is for comments and strings, which it leaves alone. */
export const lineLengthRule: Rule = (tree) =>
  [...tree.values()].flatMap((source) =>
    source.text.split("\n").flatMap((line, index) => lineViolation(source, line, index + 1)),
  );

function lineViolation({ path }: Source, text: string, line: number): Violation[] {
  const columnCount = [...text].length;
  if (columnCount <= LINE_COLUMNS_MAX || /https?:\/\/\S+["'`;,)]*$/.test(text)) return [];
  return [{ path, line, message: `${columnCount} columns, at most ${LINE_COLUMNS_MAX}: break it` }];
}

/** A function fits on a screen. Tests are exempt: a scenario is read from top to bottom. */
export function functionLengthRule(ratchet: Ratchet): Rule {
  return (tree) => {
    const sources = [...tree.values()].filter(
      ({ path }) => !isTest(path) || /^scripts\/(?!.*\.test\.ts$)/.test(path),
    );
    const longest = new Map<string, LongFunction>();
    for (const source of sources) collectLongFunctions(source, longest);
    return [
      ...[...longest].flatMap(([key, found]) => lengthViolation(key, found, ratchet[key])),
      ...Object.keys(ratchet)
        .filter((key) => !longest.has(key))
        .map((key) => ({ path: key, message: "is short or gone: delete its ratchet entry" })),
    ];
  };
}

interface LongFunction {
  readonly path: string;
  readonly line: number;
  readonly lineCount: number;
}

function collectLongFunctions(source: Source, longest: Map<string, LongFunction>): void {
  for (const { name, line, lineCount } of functionsOf(source.code)) {
    const key = `${source.path}#${name}`;
    if (lineCount <= Math.max(FUNCTION_LINES_MAX, longest.get(key)?.lineCount ?? 0)) continue;
    longest.set(key, { path: source.path, line, lineCount });
  }
}

function lengthViolation(key: string, found: LongFunction, known: number | undefined): Violation[] {
  const { path, line, lineCount } = found;
  if (known === lineCount) return [];
  if (known !== undefined && lineCount < known) {
    return [{ path, line, message: `${key} shrank: lower its ratchet entry to ${lineCount}` }];
  }
  const limit = known ?? FUNCTION_LINES_MAX;
  const message = `${key} has ${lineCount} lines, at most ${limit}`;
  return [{ path, line, message: `${message}: keep the control flow, move pure parts out` }];
}
