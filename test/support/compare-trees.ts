/** The judge of the tests: everything in which two trees of files differ, in words. */
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { AT_FDCWD, close, cString, O_NOFOLLOW, O_PATH, openat } from "../../src/platform/libc.ts";
import { xattrNames, xattrValue } from "../../src/platform/replica-files.ts";

export function compareTrees(source: string, replica: string): string[] {
  const differences: string[] = [];
  const groups = { source: new Map<string, string[]>(), replica: new Map<string, string[]>() };
  compareNode(source, replica, "", differences, groups);
  const named = (map: Map<string, string[]>) =>
    JSON.stringify(
      [...map.values()]
        .filter((g) => g.length > 1)
        .map((g) => g.sort())
        .sort(),
    );
  if (named(groups.source) !== named(groups.replica)) {
    differences.push(`hard links: ${named(groups.source)} / ${named(groups.replica)}`);
  }
  return differences;
}

function compareNode(
  source: string,
  replica: string,
  path: string,
  differences: string[],
  groups: { source: Map<string, string[]>; replica: Map<string, string[]> },
): void {
  const a = describe(source + path);
  const b = describe(replica + path);
  for (const [key, value] of Object.entries(a.facts)) {
    const other = b.facts[key];
    if (other !== value) differences.push(`${path || "."}: ${key} ${value} / ${other}`);
  }
  note(groups.source, a.identity, path);
  note(groups.replica, b.identity, path);
  if (!a.isDirectory || !b.isDirectory) return;
  const names = new Set([...readdirSync(source + path), ...readdirSync(replica + path)]);
  const there = new Set(readdirSync(source + path));
  const here = new Set(readdirSync(replica + path));
  for (const name of [...names].sort()) {
    if (!there.has(name)) differences.push(`${path}/${name}: only on the replica`);
    else if (!here.has(name)) differences.push(`${path}/${name}: missing on the replica`);
    else compareNode(source, replica, `${path}/${name}`, differences, groups);
  }
}

function note(group: Map<string, string[]>, identity: string, path: string): void {
  const paths = group.get(identity);
  if (paths === undefined) group.set(identity, [path]);
  else paths.push(path);
}

function describe(path: string) {
  const status = lstatSync(path, { bigint: true });
  const isDirectory = status.isDirectory();
  const facts: Record<string, string> = {
    mode: Number(status.mode).toString(8),
    owner: `${status.uid}:${status.gid}`,
    mtime: String(status.mtimeNs),
    rdev: String(status.rdev),
    xattrs: xattrsOf(path),
  };
  if (!isDirectory) facts.links = String(status.nlink);
  if (status.isFile()) {
    facts.size = String(status.size);
    facts.content = createHash("sha256").update(readFileSync(path)).digest("hex").slice(0, 12);
  }
  if (status.isSymbolicLink()) facts.target = readlinkSync(path);
  return { facts, isDirectory, identity: String(status.ino) };
}

function xattrsOf(path: string): string {
  const fd = openat(AT_FDCWD, cString(path), O_PATH | O_NOFOLLOW);
  const all = xattrNames(fd, true)
    .map(
      (name) =>
        `${Buffer.from(name)}=${Buffer.from(xattrValue(fd, name, true) ?? []).toString("hex")}`,
    )
    .sort();
  close(fd);
  return all.join(",");
}
