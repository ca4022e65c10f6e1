/**
 * The judge of the tests: everything in which two trees of files differ, in words. Names are bytes
 * and trees of any depth, hence the descriptors instead of paths.
 */
import { closeSync, openSync, readdirSync, readSync } from "node:fs";
import { printableName } from "../../src/base/bytes.ts";
import {
  AT_FDCWD,
  close,
  cString,
  ioctl,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  openat,
  readlinkat,
} from "../../src/platform/libc.ts";
import { xattrNames, xattrValue } from "../../src/platform/replica-files.ts";
import { Statx } from "../../src/platform/statx.ts";

/** More of them tell nothing new. */
const DIFFERENCES_MAX = 200;
const FS_IOC_GETFLAGS = 0x80086601;
/** FS_FL_USER_MODIFIABLE; the others are the file system's own affair. */
const FLAGS_SHOWN = 0x000380ff;

export interface CompareOptions {
  /** Paths from the root, as in `/folder/name`, that are left out with all below them. */
  readonly except?: readonly string[];
  /** Facts that do not count, as they are named in the differences: `mtime`. */
  readonly facts?: readonly string[];
}

export interface Comparison {
  readonly differences: string[];
  /** Files that take another number of blocks: information, not a difference. */
  readonly otherHoles: string[];
}

/** All that differs, and nothing else. */
export function compareTrees(source: string, replica: string): string[] {
  return compareTreesFully(source, replica).differences;
}

export function compareTreesFully(
  source: string,
  replica: string,
  options: CompareOptions = {},
): Comparison {
  const comparer = new TreeComparer(options);
  comparer.compare(openTree(source), openTree(replica));
  return comparer.result;
}

function openTree(path: string): number {
  const fd = openat(AT_FDCWD, cString(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw new Error(`${path}: errno ${-fd}`);
  return fd;
}

type Pair<T> = readonly [T, T];

/** Paths by inode number, of those with more than one link. */
type Groups = Map<number, string[]>;

class TreeComparer {
  readonly result: Comparison = { differences: [], otherHoles: [] };
  readonly #except: ReadonlySet<string>;
  readonly #ignored: ReadonlySet<string>;
  readonly #groups: Pair<Groups> = [new Map(), new Map()];

  constructor(options: CompareOptions) {
    this.#except = new Set(options.except);
    this.#ignored = new Set(options.facts);
  }

  /** Closes both. */
  compare(source: number, replica: number): void {
    const fds: Pair<number> = [source, replica];
    const dot = cString(".");
    this.#compareFacts("/", [describe(source, dot), describe(replica, dot)]);
    this.#compareDirectories(fds, "");
    for (const fd of fds) close(fd);
    const [links, others] = this.#groups.map(hardLinks);
    if (links !== others) this.#differ(`hard links: ${links} / ${others}`);
  }

  #differ(text: string): void {
    if (this.result.differences.length < DIFFERENCES_MAX) this.result.differences.push(text);
  }

  #compareDirectories(fds: Pair<number>, path: string): void {
    const [there, here] = fds.map(namesIn) as [Names, Names];
    for (const key of [...new Set([...there.keys(), ...here.keys()])].sort()) {
      const name = there.get(key) ?? here.get(key)!;
      const child = `${path}/${printableName(name)}`;
      if (this.#except.has(child)) continue;
      if (!here.has(key)) this.#differ(`${child}: missing on the replica`);
      else if (!there.has(key)) this.#differ(`${child}: only on the replica`);
      else this.#compareNodes(fds, cString(name), child);
    }
  }

  #compareNodes(fds: Pair<number>, name: Uint8Array, path: string): void {
    const nodes = fds.map((fd) => describe(fd, name)) as [Node, Node];
    for (const i of [0, 1] as const) {
      const { ino, isLinked } = nodes[i];
      if (!isLinked) continue;
      const paths = this.#groups[i].get(ino);
      if (paths === undefined) this.#groups[i].set(ino, [path]);
      else paths.push(path);
    }
    this.#compareFacts(path, nodes);
    const [a, b] = nodes;
    if (a.isRegular && b.isRegular) this.#compareContents(fds, name, path, nodes);
    if (!a.isDirectory || !b.isDirectory) return;
    const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    const below = fds.map((fd) => openat(fd, name, flags)) as [number, number];
    if (below.every((fd) => fd >= 0)) this.#compareDirectories(below, path);
    for (const fd of below) if (fd >= 0) close(fd);
  }

  #compareFacts(path: string, [a, b]: Pair<Node>): void {
    for (const key of new Set([...Object.keys(a.facts), ...Object.keys(b.facts)])) {
      if (this.#ignored.has(key)) continue;
      const [fact, other] = [a.facts[key], b.facts[key]];
      if (fact !== other) this.#differ(`${path}: ${key} ${fact} / ${other}`);
    }
  }

  #compareContents(fds: Pair<number>, name: Uint8Array, path: string, nodes: Pair<Node>): void {
    const [a, b] = nodes;
    if (a.blocks !== b.blocks) {
      this.result.otherHoles.push(`${path}: ${a.blocks} / ${b.blocks} blocks`);
    }
    const flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC;
    const files = fds.map((fd) => openat(fd, name, flags)) as [number, number];
    const at = files.every((fd) => fd >= 0) ? firstDifference(files) : 0;
    if (at >= 0) this.#differ(`${path}: content differs from byte ${at} on`);
    for (const fd of files) if (fd >= 0) close(fd);
  }
}

function hardLinks(groups: Groups): string {
  const shared = [...groups.values()].filter((paths) => paths.length > 1);
  return shared
    .map((paths) => paths.sort().join(" = "))
    .sort()
    .join(", ");
}

type Names = Map<string, Buffer>;

function namesIn(fd: number): Names {
  const names = readdirSync(`/proc/self/fd/${fd}`, { encoding: "buffer" });
  return new Map(names.map((name) => [name.toString("latin1"), name]));
}

const buffers = [Buffer.alloc(1 << 20), Buffer.alloc(1 << 20)] as const;

/** Position of the first byte that differs in what both have, or -1. */
function firstDifference(files: Pair<number>): number {
  for (let at = 0; ; ) {
    const [got = 0, other = 0] = files.map((fd, i) => readSync(fd, buffers[i]!, 0, 1 << 20, at));
    const length = Math.min(got, other);
    if (length === 0) return -1;
    const [a, b] = [buffers[0].subarray(0, length), buffers[1].subarray(0, length)];
    if (a.compare(b) !== 0) return at + a.findIndex((byte, i) => byte !== b[i]);
    at += length;
  }
}

const status = new Statx();

interface Node {
  readonly ino: number;
  readonly isLinked: boolean;
  readonly isDirectory: boolean;
  readonly isRegular: boolean;
  readonly blocks: number;
  readonly facts: Readonly<Record<string, string>>;
}

function describe(dir: number, name: Uint8Array): Node {
  const error = status.at(dir, name);
  const { ino, nlink, mode, blocks, isDirectory, isRegular } = status;
  if (error < 0) {
    const none = { ino: 0, isLinked: false, isDirectory: false, isRegular: false, blocks: 0 };
    return { ...none, facts: { status: `errno ${-error}` } };
  }
  const mtime = BigInt(status.mtimeSec) * 1_000_000_000n + BigInt(status.mtimeNsec);
  const facts: Record<string, string> = {
    mode: mode.toString(8),
    owner: `${status.uid}:${status.gid}`,
    mtime: String(mtime),
    rdev: String(status.rdev),
  };
  if (!isDirectory) facts.links = String(nlink);
  if (isRegular) facts.size = String(status.size);
  const at = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  facts.xattrs = xattrsOf(at);
  if ((mode & 0o170000) === 0o120000) facts.target = targetOf(at);
  if (isRegular || isDirectory) facts.flags = flagsOf(at);
  close(at);
  const isLinked = !isDirectory && nlink > 1;
  return { ino, isLinked, isDirectory, isRegular, blocks, facts };
}

/** What lsattr shows; only a real descriptor tells. */
function flagsOf(at: number): string {
  const fd = openSync(`/proc/self/fd/${at}`, O_RDONLY | O_NONBLOCK);
  const word = Buffer.alloc(8);
  const flags = ioctl(fd, FS_IOC_GETFLAGS, word) < 0 ? 0 : word.readUInt32LE(0) & FLAGS_SHOWN;
  closeSync(fd);
  return flags.toString(16);
}

const text = Buffer.alloc(8192);

function targetOf(at: number): string {
  const got = readlinkat(at, cString(""), text);
  return got < 0 ? `errno ${-got}` : printableName(text.subarray(0, got));
}

function xattrsOf(at: number): string {
  const all = xattrNames(at, true).map((name) => {
    const value = Buffer.from(xattrValue(at, name, true) ?? []).toString("hex");
    return `${printableName(name)}=${value}`;
  });
  return all.sort().join(",");
}
