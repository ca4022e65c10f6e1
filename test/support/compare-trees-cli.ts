/**
 * Compares two trees of files in everything that a copy has to keep:
 *
 *   node test/support/compare-trees-cli.ts SOURCE REPLICA [--except /PATH ...] [--holes]
 *
 * Prints a line for each difference; exit code 0 equal, 1 different, 2 wrong usage. `--holes` also
 * names files that take another number of blocks, which is no difference.
 */
import { parseArgs } from "node:util";

import { compareTreesFully } from "./compare-trees.ts";

const toStdout = (line: string) => process.stdout.write(`${line}\n`);
const toStderr = (line: string) => process.stderr.write(`${line}\n`);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { except: { type: "string", multiple: true }, holes: { type: "boolean" } },
});
const [source, replica] = positionals;
if (source === undefined || replica === undefined || positionals.length > 2) {
  toStderr("usage: compare-trees-cli.ts SOURCE REPLICA [--except /PATH ...] [--holes]");
  process.exit(2);
}
const { differences, otherHoles } = compareTreesFully(source, replica, {
  except: values.except ?? [],
});
for (const line of differences) toStdout(line);
if (values.holes === true) for (const line of otherHoles) toStdout(`holes: ${line}`);
toStderr(`${differences.length} differences, ${otherHoles.length} files with other holes`);
process.exitCode = differences.length === 0 ? 0 : 1;
