import { type Rule, treeOf } from "./tree.ts";

/** Runs a rule over a small tree, for the rules' own tests: `path:line` of each violation. */
export function violationsOf(rule: Rule, files: Readonly<Record<string, string>>): string[] {
  return rule(treeOf(Object.entries(files))).map(({ path, line, message }) => {
    if (message.length < 20) throw new Error(`a message that does not help: ${message}`);
    return line === undefined ? path : `${path}:${line}`;
  });
}
