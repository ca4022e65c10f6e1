/**
 * Random operations on a fake source, of every kind, on few names, so that they meet each other.
 */
import { lstatSync, readdirSync, rmSync } from "node:fs";
import { relative } from "node:path";
import type { Prng } from "../../src/base/prng.ts";
import type { FakeSource } from "./fake-source.ts";

const NAMES = ["a", "b", "c", "ä", "long-name-that-takes-more-room-than-others", "x.tmp"];

export interface World {
  /** The fewer, the more often operations meet each other. */
  readonly names?: readonly string[];
  /** Of directories. */
  readonly depth?: number;
  /** Files without a name, too, which lie here. */
  readonly nameless?: string;
  /** How often an operation is done, for some of them. */
  readonly weights?: Readonly<Record<string, number>>;
}

export class RandomOperations {
  readonly #source: FakeSource;
  readonly #prng: Prng;
  readonly #names: readonly string[];
  readonly #depth: number;
  readonly #weights: Readonly<Record<string, number>>;
  readonly #namelessFolder: string | undefined;
  /** Paths of files without a name, by inode. */
  readonly nameless = new Map<number, string>();
  last = "";
  readonly #counts = new Map<string, number>();

  constructor(source: FakeSource, prng: Prng, world: World = {}) {
    this.#source = source;
    this.#prng = prng;
    this.#names = world.names ?? NAMES;
    this.#depth = world.depth ?? 5;
    this.#weights = world.weights ?? {};
    this.#namelessFolder = world.nameless;
  }

  #below(limit: number): number {
    return this.#prng.uint32() % limit;
  }

  #pick<T>(values: readonly T[]): T | undefined {
    return values.length === 0 ? undefined : values[this.#below(values.length)];
  }

  #walk(): { directories: string[]; files: string[]; all: string[] } {
    const found = { directories: [""], files: [] as string[], all: [] as string[] };
    for (const directory of found.directories) {
      const folder = `${this.#source.root}/${directory}`;
      for (const entry of readdirSync(folder, { withFileTypes: true })) {
        const path = directory === "" ? entry.name : `${directory}/${entry.name}`;
        found.all.push(path);
        if (entry.isDirectory()) found.directories.push(path);
        if (entry.isFile()) found.files.push(path);
      }
    }
    return found;
  }

  /** Operations that the file system refuses (name taken, directory not empty) are part of it. */
  step(): void {
    const { directories, files, all } = this.#walk();
    const directory = this.#pick(directories) as string;
    const name = this.#pick(this.#names) as string;
    const fresh = directory === "" ? name : `${directory}/${name}`;
    const file = this.#pick(files);
    const any = this.#pick(all);
    const other = this.#pick(all);
    const depth = directory.split("/").length;
    const operations: [string, number, () => void][] = [
      ["create", 8, () => this.#source.create(fresh, 0o600 + this.#below(0o200))],
      [
        "mkdir",
        5,
        () => depth < this.#depth && this.#source.mkdir(fresh, 0o700 + this.#below(0o100)),
      ],
      ["symlink", 2, () => this.#source.symlink(fresh, "../target/of/link")],
      ["mknod", 1, () => this.#source.mknod(fresh, 0o010644)],
      ["remove", 8, () => any !== undefined && this.#source.remove(any)],
      ["rename", 8, () => any !== undefined && this.#source.rename(any, fresh)],
      ["replace", 4, () => this.#twoOf(any, other, (a, b) => this.#source.rename(a, b))],
      ["exchange", 4, () => this.#twoOf(any, other, (a, b) => this.#source.exchange(a, b))],
      ["link", 3, () => file !== undefined && this.#source.link(fresh, file)],
      ["chmod", 2, () => file !== undefined && this.#source.chmod(file, this.#below(0o10000))],
      ["chown", 2, () => any !== undefined && this.#chown(any)],
      ["utimes", 2, () => any !== undefined && this.#source.utimes(any, this.#below(1e9), 12345)],
      ["xattr", 3, () => file !== undefined && this.#xattr(file)],
      ["write", 20, () => file !== undefined && this.#write(file)],
      ["truncate", 3, () => file !== undefined && this.#source.truncate(file, this.#below(50_000))],
      ["punch", 2, () => file !== undefined && this.#source.fallocate(file, 3, 4096, 20_000)],
      ["copy", 3, () => this.#copy(file, this.#pick(files))],
      ...this.#namelessOperations(fresh),
    ];
    this.#perform(operations.map(([n, weight, run]) => [n, this.#weights[n] ?? weight, run]));
  }

  #namelessOperations(fresh: string): [string, number, () => void][] {
    const folder = this.#namelessFolder;
    if (folder === undefined) return [];
    const [ino, path] = this.#pick([...this.nameless]) ?? [];
    const use = (run: (ino: number, path: string) => void) => () => {
      if (ino !== undefined && path !== undefined) run(ino, path);
    };
    return [
      ["tmpfile", 3, () => this.#makeNameless(`${folder}/nameless-${this.#prng.uint32()}`)],
      ["write nameless", 2, use((_, at) => this.#write(relative(this.#source.root, at)))],
      ["name", 3, use((node, at) => this.#nameIt(node, at, fresh))],
      ["forget", 1, use((node, at) => this.#forget(node, at))],
    ];
  }

  #makeNameless(path: string): void {
    this.nameless.set(this.#source.tmpfile(path), path);
  }

  #nameIt(ino: number, path: string, fresh: string): void {
    if (lstatSync(`${this.#source.root}/${fresh}`, { throwIfNoEntry: false })) return;
    this.#source.linkTmpfile(fresh, path);
    this.#source.forget(ino);
    this.nameless.delete(ino);
  }

  #forget(ino: number, path: string): void {
    rmSync(path);
    this.#source.forget(ino);
    this.nameless.delete(ino);
  }

  #perform(operations: readonly [string, number, () => void][]): void {
    let at = this.#below(operations.reduce((sum, [, weight]) => sum + weight, 0));
    for (const [name, weight, operation] of operations) {
      at -= weight;
      if (at >= 0) continue;
      this.last = `${name}`;
      try {
        operation();
        this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
      } catch (error) {
        // Not every file system has attributes that users may name.
        const refused = /E[A-Z]+|exchange: -|setxattr .*: -95/.test((error as Error).message);
        if (!refused) throw error;
      }
      return;
    }
  }

  #twoOf(a: string | undefined, b: string | undefined, use: (a: string, b: string) => void): void {
    if (a !== undefined && b !== undefined && a !== b) use(a, b);
  }

  #chown(path: string): void {
    if (!lstatSync(`${this.#source.root}/${path}`).isSymbolicLink()) {
      this.#source.chown(path, this.#below(5), this.#below(5));
    }
  }

  #xattr(path: string): void {
    const name = `user.${this.#below(3)}`;
    if (this.#below(3) === 0) this.#source.removexattr(path, name);
    else this.#source.setxattr(path, name, Buffer.alloc(this.#below(200), this.#below(255)));
  }

  #write(path: string): void {
    const data = Buffer.alloc(1 + this.#below(9000), this.#below(256));
    this.#source.write(path, this.#below(60_000), data);
  }

  #copy(to: string | undefined, from: string | undefined): void {
    if (to === undefined || from === undefined) return;
    const sameFile = this.#source.ino(to) === this.#source.ino(from);
    const length = 1 + this.#below(5000);
    this.#source.copy(
      to,
      sameFile ? 100_000 : this.#below(40_000),
      from,
      this.#below(9000),
      length,
    );
  }

  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }
}
