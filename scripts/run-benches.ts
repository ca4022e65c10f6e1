/**
 * Runs benchmarks one after the other, each in a process of its own; each prints JSON.
 *
 *   node scripts/run-benches.ts [part of a path ...] [--option VALUE ...]
 *
 * Options, from the first one on, go to the benchmarks.
 */
import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");
const given = process.argv.slice(2);
const optionsAt = given.findIndex((argument) => argument.startsWith("--"));
const pathParts = optionsAt < 0 ? given : given.slice(0, optionsAt);
const options = optionsAt < 0 ? [] : given.slice(optionsAt);
const paths = globSync("bench/**/*.bench.ts", { cwd: ROOT })
  .filter((path) => pathParts.length === 0 || pathParts.some((part) => path.includes(part)))
  .sort();

if (paths.length === 0) {
  console.error(`No benchmark matches ${pathParts.join(", ") || "bench/**/*.bench.ts"}.`);
  process.exitCode = 1;
}
for (const path of paths) {
  console.error(`# ${path}`);
  const { status } = spawnSync(process.execPath, [join(ROOT, path), ...options], {
    stdio: "inherit",
  });
  if (status !== 0) process.exitCode = 1;
}
