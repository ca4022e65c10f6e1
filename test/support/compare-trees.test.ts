import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  cpSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import { compareTrees, compareTreesFully } from "./compare-trees.ts";

const CLI = join(import.meta.dirname, "compare-trees-cli.ts");

/** Two equal trees, below a folder that is removed after the test. */
function twoTrees(t: TestContext): { a: string; b: string } {
  const folder = mkdtempSync(`${tmpdir()}/standin-compare-`);
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const [a, b] = [`${folder}/a`, `${folder}/b`];
  for (const root of [a, b]) {
    mkdirSync(`${root}/folder`, { recursive: true });
    writeFileSync(`${root}/folder/file`, "content");
    linkSync(`${root}/folder/file`, `${root}/link`);
    writeFileSync(`${root}/other`, "content");
    writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.of(0xff, 0x41)]), "");
    symlinkSync("folder", `${root}/symlink`);
    assert.equal(spawnSync("mkfifo", [`${root}/fifo`]).status, 0);
    settle(root);
  }
  return { a, b };
}

/** Makes the times of everything equal again, so that only what a test changed differs. */
function settle(root: string): void {
  lutimesSync(`${root}/symlink`, 1000, 1000);
  const bytes = Buffer.concat([Buffer.from(`${root}/`), Buffer.of(0xff, 0x41)]);
  for (const path of ["folder/file", "other", "fifo", "folder", ""]) {
    utimesSync(`${root}/${path}`, 1000, 1000);
  }
  utimesSync(bytes, 1000, 1000);
  utimesSync(root, 1000, 1000);
}

test("compareTrees() finds nothing in equal trees", (t) => {
  const { a, b } = twoTrees(t);
  assert.deepEqual(compareTreesFully(a, b), { differences: [], otherHoles: [] });
});

const CHANGES: readonly [what: string, expected: RegExp, change: (root: string) => void][] = [
  ["a byte", /^\/other: content differs from byte 3 on$/, (r) => write(`${r}/other`, "conTent")],
  ["a size", /^\/other: size 7 \/ 8$/, (r) => appendFileSync(`${r}/other`, "+")],
  ["a mode", /^\/fifo: mode 10644 \/ 10600$/, (r) => chmodSync(`${r}/fifo`, 0o600)],
  ["a folder's time", /^\/folder: mtime 1000\d+ \/ 2000/, (r) => utimesSync(`${r}/folder`, 2, 2e3)],
  ["a symlink's time", /^\/symlink: mtime /, (r) => lutimesSync(`${r}/symlink`, 2, 2)],
  ["a fifo's time", /^\/fifo: mtime /, (r) => utimesSync(`${r}/fifo`, 2, 2)],
  ["a target", /^\/symlink: target folder \/ other$/, (r) => replaceLink(`${r}/symlink`, "other")],
  ["a type", /^\/fifo: mode 10644 \/ 100644/, (r) => replaceFile(`${r}/fifo`)],
  ["a link that is a copy", /^hard links: .*file = \/link/, (r) => replaceFile(`${r}/link`)],
  ["a name of bytes", /^\/\\xffA: missing on the replica$/, renameBytes],
  ["a new file", /^\/new: only on the replica$/, (r) => write(`${r}/new`, "")],
];

function write(path: string, content: string): void {
  writeFileSync(path, content);
}
function replaceLink(path: string, target: string): void {
  rmSync(path);
  symlinkSync(target, path);
}
function replaceFile(path: string): void {
  rmSync(path);
  writeFileSync(path, "content");
}
function renameBytes(root: string): void {
  const path = (byte: number) => Buffer.concat([Buffer.from(`${root}/`), Buffer.of(byte, 0x41)]);
  renameSync(path(0xff), path(0xfe));
}

for (const [what, expected, change] of CHANGES) {
  test(`compareTrees() finds ${what}`, (t) => {
    const { a, b } = twoTrees(t);
    change(b);
    const found = compareTrees(a, b);
    assert.ok(
      found.some((line) => expected.test(line)),
      found.join("\n"),
    );
  });
}

test("compareTrees() takes holes as information", (t) => {
  const { a, b } = twoTrees(t);
  for (const root of [a, b]) truncateSync(`${root}/other`, 1 << 20);
  write(`${b}/other`, `content${"\0".repeat((1 << 20) - 7)}`);
  for (const root of [a, b]) settle(root);
  const { differences, otherHoles } = compareTreesFully(a, b);
  assert.deepEqual(differences, []);
  assert.match(otherHoles.join(), /^\/other: \d+ \/ \d+ blocks$/);
});

test("the command line compares, leaves out what it is told to, and says wrong usage", (t) => {
  const { a, b } = twoTrees(t);
  cpSync(`${b}/folder`, `${b}/extra`, { recursive: true });
  utimesSync(b, 1000, 1000);
  const run = (...args: string[]) => spawnSync(process.execPath, [CLI, ...args]);
  assert.equal(run(a, b).status, 1);
  assert.equal(run(a, b).stdout.toString(), "/extra: only on the replica\n");
  assert.equal(run(a, b, "--except", "/extra").status, 0);
  assert.equal(run(a).status, 2);
});
