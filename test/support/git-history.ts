/** A git repository with a history, made of files that every machine with the tests has. */
import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  cpSync,
  type Dirent,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { dirname, join } from "node:path";

const FILE_BYTES_MAX = 100_000;
const GIT_TIMEOUT_MS = 240_000;
/** Nothing of the user's own settings. */
const ENVIRONMENT = {
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "Test",
  GIT_AUTHOR_EMAIL: "test@example.com",
  GIT_COMMITTER_NAME: "Test",
  GIT_COMMITTER_EMAIL: "test@example.com",
};

export function git(folder: string, ...args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync("git", ["-C", folder, ...args], {
    encoding: "utf8",
    env: { ...process.env, ...ENVIRONMENT },
    timeout: GIT_TIMEOUT_MS,
    maxBuffer: 1 << 26,
  });
  if (status === 0) return stdout;
  throw new Error(`git ${args.join(" ")}: ${error?.message ?? stderr.slice(-2000)}`);
}

/** Three commits, each with new, changed, renamed and removed files, links and modes. */
export function makeRepository(folder: string, fileCount: number): void {
  mkdirSync(folder);
  git(folder, "init", "-q", "-b", "main");
  const files = pickFiles(join(import.meta.dirname, "../../node_modules"), fileCount);
  const half = Math.floor(files.length / 2);
  addAll(folder, "first", files.slice(0, half));
  commit(folder, "first");
  addAll(folder, "second", files.slice(half));
  for (const [at, path] of pickFiles(join(folder, "first"), half).entries()) {
    if (at % 3 === 0) appendFileSync(join(folder, "first", path), "changed\n");
    if (at % 5 === 1) rmSync(join(folder, "first", path));
    else if (at % 7 === 2) chmodSync(join(folder, "first", path), 0o755);
  }
  symlinkSync("second", `${folder}/link`);
  commit(folder, "second");
  renameSync(`${folder}/first`, `${folder}/moved`);
  rmSync(`${folder}/link`);
  mkdirSync(`${folder}/link`);
  addAll(folder, "link", files.slice(0, half / 4));
  commit(folder, "third");
}

function commit(folder: string, message: string): void {
  git(folder, "add", "--all", "--force");
  git(folder, "commit", "-q", "-m", message);
}

function addAll(folder: string, name: string, files: readonly string[]): void {
  const modules = join(import.meta.dirname, "../../node_modules");
  for (const path of files) {
    mkdirSync(dirname(join(folder, name, path)), { recursive: true });
    cpSync(join(modules, path), join(folder, name, path));
  }
}

/** Paths of files below `root` that are not too large, in an order that is always the same. */
function pickFiles(root: string, count: number): string[] {
  const picked: string[] = [];
  const visit = (path: string): void => {
    for (const entry of entriesOf(join(root, path))) {
      if (picked.length >= count) return;
      const below = path === "" ? entry.name : `${path}/${entry.name}`;
      if (entry.isDirectory()) visit(below);
      else if (entry.isFile() && statSync(join(root, below)).size <= FILE_BYTES_MAX) {
        picked.push(below);
      }
    }
  };
  visit("");
  return picked;
}

function entriesOf(path: string): Dirent[] {
  const entries = readdirSync(path, { withFileTypes: true });
  return entries.filter(({ name }) => name !== ".git").sort((a, b) => (a.name < b.name ? -1 : 1));
}
