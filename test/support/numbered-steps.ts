/**
 * Changes of a folder, numbered, which follow from a seed: whoever makes the first n of them has
 * the same folder, wherever it is. So a replica tells by itself whether it is what its source was
 * at one moment: the file `counter` says at which.
 */
import assert from "node:assert/strict";
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";

import { Prng } from "../../src/base/prng.ts";
import { cString, setxattr } from "../../src/platform/libc.ts";
import { compareTreesFully } from "./compare-trees.ts";

const COUNTER = "counter";
const FILES_MAX = 120;
const FOLDERS_MAX = 12;
const PAGE = 4096;
const WRITE_BYTES_MAX = 9000;
const FILE_BYTES_MAX = 60_000;

/** Names of one file share it. */
interface File {
  bytes: number;
}

/** The number of the last step that was noted in the folder. */
export function numberIn(folder: string): number {
  return Number(readFileSync(`${folder}/${COUNTER}`, "utf8"));
}

export class NumberedSteps {
  readonly #folder: string;
  readonly #prng: Prng;
  readonly #counter: number;
  readonly #files = new Map<string, File>();
  readonly #links = new Set<string>();
  /** By name: how many names are in it. */
  readonly #folders = new Map<string, number>([["", 0]]);
  #names = 0;
  #number = 0;
  #isChanged = false;

  /** Makes the folder. */
  constructor(folder: string, seed: number) {
    this.#folder = folder;
    this.#prng = new Prng(seed);
    mkdirSync(folder, { mode: 0o700 });
    this.#counter = openSync(`${folder}/${COUNTER}`, "wx", 0o600);
    this.count();
  }

  /** Of the last step that is complete. */
  get number(): number {
    return this.#number;
  }

  close(): void {
    closeSync(this.#counter);
  }

  step(): void {
    this.change();
    this.#number += 1;
    this.count();
  }

  /** First half of a step: one change, which one call of the system makes as a whole. */
  change(): void {
    if (!this.#isChanged) this.#kind()();
    this.#isChanged = true;
  }

  /** Second half: its number. */
  count(): void {
    writeSync(this.#counter, String(this.#number).padStart(16), 0);
    this.#isChanged = false;
  }

  #kind(): () => void {
    const { size } = this.#files;
    if (size < 5) return () => this.#create();
    const kinds: [number, () => void][] = [
      [size < FILES_MAX ? 20 : 0, () => this.#create()],
      [size < FILES_MAX ? 0 : 20, () => this.#unlink()],
      [40, () => this.#write()],
      [6, () => this.#truncate()],
      [12, () => this.#rename(this.#newName())],
      [6, () => this.#rename(this.#anyFile())],
      [4, () => this.#link()],
      [3, () => this.#symlink()],
      [5, () => chmodSync(this.#at(this.#anyFile()), 0o400 + this.#prng.int(0o400))],
      [5, () => this.#setXattr()],
      [5, () => this.#unlink()],
      [4, () => this.#changeFolders()],
    ];
    let at = this.#prng.int(kinds.reduce((sum, [weight]) => sum + weight, 0));
    const found = kinds.find(([weight]) => {
      at -= weight;
      return at < 0;
    });
    assert.ok(found);
    return found[1];
  }

  #at(name: string): string {
    return `${this.#folder}/${name}`;
  }
  #anyFile(): string {
    return this.#prng.pick([...this.#files.keys()]);
  }

  /** That nothing had before. */
  #newName(): string {
    const folder = this.#prng.pick([...this.#folders.keys()]);
    this.#names += 1;
    const name = `f${this.#names}`;
    return folder === "" ? name : `${folder}/${name}`;
  }

  #put(name: string, file: File): void {
    if (!this.#files.has(name)) this.#countIn(name, 1);
    this.#files.set(name, file);
  }
  #take(name: string): void {
    this.#files.delete(name);
    this.#countIn(name, -1);
  }
  #countIn(name: string, change: number): void {
    const folder = name.includes("/") ? name.slice(0, name.indexOf("/")) : "";
    this.#folders.set(folder, (this.#folders.get(folder) ?? 0) + change);
  }

  #create(): void {
    const name = this.#newName();
    closeSync(openSync(this.#at(name), "wx", 0o600));
    this.#put(name, { bytes: 0 });
  }

  /**
   * From the start of a page, or within one: FUSE makes two requests, hence two ops, of a write
   * that goes on behind a part of a page which the kernel has not read.
   */
  #write(): void {
    const name = this.#anyFile();
    const file = this.#files.get(name)!;
    const anywhere = this.#prng.int(Math.min(file.bytes, FILE_BYTES_MAX) + 1);
    const rest = PAGE - (anywhere % PAGE);
    const at = this.#prng.chance(0.5) ? anywhere + rest - PAGE : anywhere;
    const max = at === anywhere ? rest : WRITE_BYTES_MAX;
    const data = this.#prng.bytes(1 + this.#prng.int(max));
    const fd = openSync(this.#at(name), "r+");
    writeSync(fd, data, 0, data.length, at);
    closeSync(fd);
    file.bytes = Math.max(file.bytes, at + data.length);
  }

  #truncate(): void {
    const name = this.#anyFile();
    const file = this.#files.get(name)!;
    file.bytes = this.#prng.int(FILE_BYTES_MAX);
    const fd = openSync(this.#at(name), "r+");
    ftruncateSync(fd, file.bytes);
    closeSync(fd);
  }

  /** To a new name, or in the place of another file. */
  #rename(to: string): void {
    const name = this.#anyFile();
    const file = this.#files.get(name)!;
    renameSync(this.#at(name), this.#at(to));
    // Two names of one file: nothing happens.
    if (this.#files.get(to) === file) return;
    this.#take(name);
    this.#put(to, file);
  }

  #link(): void {
    const name = this.#anyFile();
    const to = this.#newName();
    linkSync(this.#at(name), this.#at(to));
    this.#put(to, this.#files.get(name)!);
  }

  #symlink(): void {
    const [first] = this.#links;
    if (this.#links.size > 10 && first !== undefined) {
      unlinkSync(this.#at(first));
      this.#links.delete(first);
      this.#countIn(first, -1);
      return;
    }
    const name = this.#newName();
    symlinkSync(`../${this.#names}`, this.#at(name));
    this.#links.add(name);
    this.#countIn(name, 1);
  }

  #setXattr(): void {
    const value = this.#prng.bytes(1 + this.#prng.int(100));
    const path = cString(this.#at(this.#anyFile()));
    const name = cString(`user.${this.#prng.int(3)}`);
    assert.equal(setxattr(path, name, value, value.length, 0), 0);
  }

  #unlink(): void {
    const name = this.#anyFile();
    unlinkSync(this.#at(name));
    this.#take(name);
  }

  #changeFolders(): void {
    const empty = [...this.#folders].find(([folder, names]) => folder !== "" && names === 0);
    if (this.#folders.size > FOLDERS_MAX && empty !== undefined) {
      rmdirSync(this.#at(empty[0]));
      this.#folders.delete(empty[0]);
      return;
    }
    if (this.#folders.size > FOLDERS_MAX) return;
    this.#names += 1;
    mkdirSync(this.#at(`d${this.#names}`), 0o700);
    this.#folders.set(`d${this.#names}`, 0);
  }
}

/** A folder beside, which is brought to what a replica says it is. It goes forward only. */
export class NumberedReference {
  readonly #folder: string;
  readonly #steps: NumberedSteps;

  constructor(folder: string, seed: number) {
    this.#folder = folder;
    this.#steps = new NumberedSteps(folder, seed);
  }

  /**
   * Settles what the replica is: the folder after some step, or between its change and its number.
   * @returns the number. @throws when it is neither
   */
  assertMoment(replica: string, shown: string): number {
    const number = numberIn(replica);
    const steps = this.#steps;
    assert.ok(number >= steps.number, `${number} was beyond ${steps.number} before: ${shown}`);
    while (steps.number < number) steps.step();
    const differences = this.#differences(replica);
    if (differences.length === 0) return number;
    steps.change();
    const others = this.#differences(replica);
    if (others.length === 0) return number;
    const found = [...differences, "or, with the change behind it:", ...others].join("\n");
    assert.fail(`it is no moment of the source at ${number}: ${found}\n${shown}`);
  }

  /** Times are the clock's, and no work of ours. */
  #differences(replica: string): string[] {
    return compareTreesFully(this.#folder, replica, { facts: ["mtime"] }).differences;
  }

  close(): void {
    this.#steps.close();
  }
}
