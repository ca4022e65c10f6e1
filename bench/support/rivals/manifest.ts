/**
 * What a folder must hold: made by whoever writes it, so that comparing reads only the copy and
 * costs the contenders nothing on the source's side.
 */
import { hash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";

import { systemClock } from "../../../src/platform/clock.ts";
import { OWN_NAMES } from "./contender.ts";

const POLL_MS = 10;

interface Expected {
  /** Undefined: a folder. */
  readonly digest?: string;
  readonly size: number;
}

export class Manifest {
  readonly root: string;
  readonly #entries = new Map<string, Expected>();

  /** `root`: the folder that is described; entries are named relative to it. */
  constructor(root: string) {
    this.root = root;
  }

  /** Of what is there already, and does not change meanwhile. */
  static of(root: string): Manifest {
    const manifest = new Manifest(root);
    for (const name of listed(root).toSorted()) {
      const path = `${root}/${name}`;
      if (statSync(path).isDirectory()) manifest.#entries.set(name, { size: 0 });
      else manifest.note(name, readFileSync(path));
    }
    return manifest;
  }

  addFolder(name: string): void {
    mkdirSync(`${this.root}/${name}`);
    this.#entries.set(name, { size: 0 });
  }

  addFile(name: string, content: Buffer): void {
    writeFileSync(`${this.root}/${name}`, content);
    this.note(name, content);
  }

  /** The file was written by somebody else. */
  note(name: string, content: Buffer): void {
    this.#entries.set(name, { digest: digestOf(content), size: content.length });
  }

  /** A folder got another name, with all that is in it. */
  renamed(from: string, to: string): void {
    for (const [name, entry] of [...this.#entries]) {
      if (name !== from && !name.startsWith(`${from}/`)) continue;
      this.#entries.delete(name);
      this.#entries.set(to + name.slice(from.length), entry);
    }
  }

  /**
   * Until `copy` holds exactly this, what contenders keep there for themselves left out. Names and
   * sizes are waited for first; reading everything takes time that is none of the contender's.
   *
   * @returns when (as `performance.now`) the last difference was seen to be gone.
   */
  async untilEqual(copy: string, limitMs: number): Promise<number> {
    const deadline = performance.now() + limitMs;
    const entries = [...this.#entries];
    let position = 0;
    let looks = isThere;
    for (;;) {
      while (position < entries.length && looks(copy, entries[position]!)) position++;
      const now = performance.now();
      if (position === entries.length) {
        const different = entries.findIndex((entry) => !isEqual(copy, entry));
        if (different < 0 && this.#strangersIn(copy).length === 0) return now;
        position = Math.max(different, 0);
        looks = isEqual;
      }
      if (now > deadline) {
        const missing = entries[position]?.[0] ?? "nothing";
        const strangers = this.#strangersIn(copy).slice(0, 5).join(", ");
        throw new Error(`not equal in ${limitMs / 1000} s: ${missing}; too many: ${strangers}`);
      }
      await systemClock.sleep(POLL_MS);
    }
  }

  #strangersIn(copy: string): string[] {
    return listed(copy).filter((name) => {
      return !this.#entries.has(name) && !OWN_NAMES.test(name.slice(name.lastIndexOf("/") + 1));
    });
  }
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: "utf8" });
  } catch {
    return []; // not there yet, or a folder vanished meanwhile: the entries tell
  }
}

function isThere(copy: string, [name, { digest, size }]: [string, Expected]): boolean {
  const found = statSync(`${copy}/${name}`, { throwIfNoEntry: false });
  if (found === undefined) return false;
  return digest === undefined ? found.isDirectory() : found.isFile() && found.size === size;
}

function isEqual(copy: string, entry: [string, Expected]): boolean {
  const [name, { digest }] = entry;
  if (!isThere(copy, entry)) return false;
  if (digest === undefined) return true;
  try {
    return digestOf(readFileSync(`${copy}/${name}`)) === digest;
  } catch {
    return false; // replaced at this moment
  }
}

function digestOf(content: Buffer): string {
  return hash("sha1", content);
}
