/**
 * An application that knows what it wrote: `mixed-load.ts FOLDER SEED [PACE]`. Does a mixture of
 * everything in its folder until SIGTERM, checks each result and each content against a model of
 * its own, and prints how it went as JSON. Ends with an error at the first thing that is wrong.
 */
import assert from "node:assert/strict";
import {
  appendFileSync,
  closeSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { Prng } from "../../src/base/prng.ts";

const FILES_MAX = 150;
const OPEN_MAX = 8;
const SIZE_MAX = 200_000;

/** A shorter one is not worth a line. */
const PAUSE_MS_MIN = 100;

interface Content {
  bytes: Buffer;
}

/** A file without a name that is still open. */
interface Nameless {
  readonly fd: number;
  readonly content: Content;
}

class MixedLoad {
  readonly #folder: string;
  readonly #prng: Prng;
  /** Names of one file share its content. */
  readonly #files = new Map<string, Content>();
  readonly #nameless: Nameless[] = [];
  #next = 0;
  ops = 0;
  /** See ApplicationResult. */
  readonly pauses: { kind: string; atMs: number; ms: number }[] = [];
  readonly silences: { atMs: number; ms: number }[] = [];
  #lastEndMs = performance.now();

  constructor(folder: string, seed: number) {
    this.#folder = folder;
    this.#prng = new Prng(seed);
    for (let i = 0; i < 4; i++) mkdirSync(`${folder}/${i}`, { recursive: true });
  }

  #newName(): string {
    this.#next += 1;
    return `${this.#prng.int(4)}/f${this.#next}`;
  }
  #anyName(): string | undefined {
    return this.#files.size === 0 ? undefined : this.#prng.pick([...this.#files.keys()]);
  }
  #at(name: string): string {
    return `${this.#folder}/${name}`;
  }
  #newBytes(max = 20_000): Buffer {
    return Buffer.from(this.#prng.bytes(1 + this.#prng.int(max)));
  }

  readonly #kinds: Readonly<Record<string, () => void>> = {
    create: () => {
      const name = this.#newName();
      const bytes = this.#newBytes();
      writeFileSync(this.#at(name), bytes, { flag: "wx" });
      this.#files.set(name, { bytes });
    },
    overwrite: () => this.#withFile((name, content) => this.#write(name, content, false)),
    "overwrite and fsync": () =>
      this.#withFile((name, content) => this.#write(name, content, true)),
    append: () =>
      this.#withFile((name, content) => {
        if (content.bytes.length > SIZE_MAX) return;
        const bytes = this.#newBytes(5000);
        appendFileSync(this.#at(name), bytes);
        content.bytes = Buffer.concat([content.bytes, bytes]);
      }),
    truncate: () =>
      this.#withFile((name, content) => {
        const size = this.#prng.int(SIZE_MAX);
        const fd = openSync(this.#at(name), "r+");
        ftruncateSync(fd, size);
        closeSync(fd);
        const grown = Buffer.alloc(size);
        content.bytes.copy(grown);
        content.bytes = grown;
      }),
    rename: () =>
      this.#withFile((name, content) => {
        const to = this.#prng.chance(0.5) ? this.#newName() : (this.#anyName() ?? name);
        renameSync(this.#at(name), this.#at(to));
        // Two names of one file: nothing happens.
        if (this.#files.get(to) === content) return;
        this.#files.delete(name);
        this.#files.set(to, content);
      }),
    link: () =>
      this.#withFile((name, content) => {
        const to = this.#newName();
        linkSync(this.#at(name), this.#at(to));
        this.#files.set(to, content);
      }),
    unlink: () =>
      this.#withFile((name) => {
        unlinkSync(this.#at(name));
        this.#files.delete(name);
      }),
    "unlink while open": () =>
      this.#withFile((name, content) => {
        const fd = openSync(this.#at(name), "r+");
        unlinkSync(this.#at(name));
        this.#files.delete(name);
        if ([...this.#files.values()].includes(content)) closeSync(fd);
        else this.#nameless.push({ fd, content });
      }),
    "use a nameless file": () => {
      const each = this.#nameless[this.#prng.int(OPEN_MAX)];
      if (each === undefined) return;
      const { fd, content } = each;
      this.#verifyNameless(each);
      const bytes = this.#newBytes(3000);
      assert.equal(writeSync(fd, bytes, 0, bytes.length, 0), bytes.length);
      const rest = content.bytes.subarray(bytes.length);
      content.bytes = Buffer.concat([bytes, rest]);
    },
    "make and remove a folder": () => {
      const path = this.#at(`folder-${this.ops}`);
      mkdirSync(path);
      symlinkSync("nowhere", `${path}/link`);
      assert.throws(() => mkdirSync(path), { code: "EEXIST" });
      assert.throws(() => rmdirSync(path), { code: "ENOTEMPTY" });
      unlinkSync(`${path}/link`);
      rmdirSync(path);
      assert.throws(() => statSync(path), { code: "ENOENT" });
    },
    read: () => this.#withFile((name) => this.#verify(name)),
  };

  #withFile(use: (name: string, content: Content) => void): void {
    const name = this.#anyName();
    if (name !== undefined) use(name, this.#files.get(name)!);
  }

  #write(name: string, content: Content, syncs: boolean): void {
    const bytes = this.#newBytes();
    const at = this.#prng.int(content.bytes.length + 1);
    const fd = openSync(this.#at(name), "r+");
    assert.equal(writeSync(fd, bytes, 0, bytes.length, at), bytes.length);
    if (syncs) fsyncSync(fd);
    closeSync(fd);
    const end = Math.max(content.bytes.length, at + bytes.length);
    const next = Buffer.alloc(end);
    content.bytes.copy(next);
    bytes.copy(next, at);
    content.bytes = next;
  }

  #verify(name: string): void {
    const bytes = readFileSync(this.#at(name));
    assert.ok(bytes.equals(this.#files.get(name)!.bytes), `${name} is not what was written`);
  }

  #verifyNameless({ fd, content }: Nameless): void {
    const bytes = Buffer.alloc(content.bytes.length + 1);
    const got = readSync(fd, bytes, 0, bytes.length, 0);
    assert.ok(bytes.subarray(0, got).equals(content.bytes), "a nameless file has changed");
  }

  step(): void {
    const { size } = this.#files;
    let kind = this.#prng.pick(Object.keys(this.#kinds));
    if (size < 10) kind = "create";
    if (size > FILES_MAX) kind = "unlink";
    const startMs = performance.now();
    this.#kinds[kind]?.();
    this.#note(kind, startMs);
    this.ops += 1;
    if (this.#nameless.length <= OPEN_MAX) return;
    const oldest = this.#nameless.shift()!;
    this.#verifyNameless(oldest);
    closeSync(oldest.fd);
  }

  #note(kind: string, startMs: number): void {
    const endMs = performance.now();
    const of = (fromMs: number) => ({
      atMs: performance.timeOrigin + fromMs,
      ms: Math.round(endMs - fromMs),
    });
    if (endMs - startMs > PAUSE_MS_MIN) this.pauses.push({ kind, ...of(startMs) });
    if (endMs - this.#lastEndMs > PAUSE_MS_MIN) this.silences.push(of(this.#lastEndMs));
    this.#lastEndMs = endMs;
  }

  /** All that it wrote is there, and nothing else. */
  finish(): void {
    for (const each of this.#nameless) {
      this.#verifyNameless(each);
      closeSync(each.fd);
    }
    for (const name of this.#files.keys()) this.#verify(name);
    const found = [0, 1, 2, 3].flatMap((i) =>
      readdirSync(this.#at(String(i))).map((name) => `${i}/${name}`),
    );
    assert.deepEqual(found.sort(), [...this.#files.keys()].sort());
  }
}

let isStopping = false;
process.once("SIGTERM", () => {
  isStopping = true;
});
const [, , folder = "", seed = "1", pace = "0"] = process.argv;
const paceMs = Number(pace);
const load = new MixedLoad(folder, Number(seed));
while (!isStopping) {
  load.step();
  await (paceMs === 0 ? nextTurn() : sleep(paceMs));
}
load.finish();
const { ops, pauses, silences } = load;
process.stdout.write(JSON.stringify({ ops, pauses, silences }));
