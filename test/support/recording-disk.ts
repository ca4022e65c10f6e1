/**
 * An ext4 on a disk that records what is written to it, and what a power cut at any moment would
 * have left of it: everything before the last flush, and of the rest whatever chance decides, block
 * by block.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  constants,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Prng } from "../../src/base/prng.ts";
import { SharedMemory } from "../../src/platform/shared-memory.ts";
import { LoopMount } from "./loop-mount.ts";
import { runCommand } from "./run-command.ts";

const PROCESS = join(import.meta.dirname, "recording-disk-process.ts");
const BLOCK = 4096;
const FLUSH = 0xffffffff;

export class RecordingDisk {
  readonly folder: string;
  readonly #bytes: number;
  readonly #counter: SharedMemory;
  readonly #count: Int32Array;
  readonly #loop: LoopMount;
  #child: ChildProcess | undefined;

  constructor(folder: string, shm: string, bytes: number) {
    this.folder = folder;
    this.#bytes = bytes;
    this.#counter = SharedMemory.create(`${shm}/counter`, 4096);
    this.#count = new Int32Array(this.#counter.buffer);
    this.#loop = new LoopMount(join(folder, "mnt"));
    mkdirSync(join(folder, "disk"));
  }

  get path(): string {
    return this.#loop.path;
  }
  /** Entries so far. */
  get position(): number {
    return Atomics.load(this.#count, 0);
  }

  /** `content`: an image that it begins with, and which is taken; else an empty ext4. */
  async start(counterPath: string, content?: string): Promise<void> {
    const image = join(this.folder, "image");
    if (content === undefined) await this.#format(image);
    else renameSync(content, image);
    copyFileSync(image, join(this.folder, "base"));
    this.#count.fill(0);
    const paths = [join(this.folder, "disk"), image, join(this.folder, "record"), counterPath];
    const child = spawn(process.execPath, [PROCESS, ...paths], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#child = child;
    await new Promise<void>((resolve, reject) => {
      child.stdout?.once("data", () => resolve());
      child.once("exit", (code) => reject(new Error(`the disk ended: ${code}`)));
    });
    await this.#loop.mount(join(this.folder, "disk/image"), "commit=1");
  }

  async #format(image: string): Promise<void> {
    const fd = openSync(image, "w");
    ftruncateSync(fd, this.#bytes);
    closeSync(fd);
    await runCommand("mkfs.ext4", "-q", "-F", image);
  }

  /**
   * Stands still after so many more entries, or after a while in which there were fewer. From then
   * on nothing is written, and who waits for the disk is not answered, until it is ended by
   * {@link cutOff}: touch nothing that lies on it. Entries that were done.
   */
  async freeze(entries: number, idleMs: number): Promise<number> {
    const limit = this.position + entries;
    Atomics.store(this.#count, 1, limit);
    const end = performance.now() + idleMs;
    while (this.position < limit && performance.now() < end) await sleep(1);
    const pid = this.#child?.pid ?? 0;
    process.kill(pid, "SIGSTOP");
    while (!isStopped(pid)) await sleep(1);
    return this.position;
  }

  /** Ends a disk that may be frozen: all who wait for it are told that it is gone. */
  async cutOff(): Promise<void> {
    this.#child?.kill("SIGKILL");
    await this.stop();
  }

  async stop(): Promise<void> {
    await this.#loop.tearDown();
    spawnSync("timeout", ["20", "umount", "-l", join(this.folder, "disk")]);
    this.#child?.kill("SIGKILL");
  }
}

function isStopped(pid: number): boolean {
  return /^State:\tT/m.test(readFileSync(`/proc/${pid}/status`, "latin1"));
}

interface Entry {
  readonly offset: number;
  readonly length: number;
  /** In the record. */
  readonly at: number;
}

/** Makes images of a recorded disk as of later and later moments. */
export class CutImages {
  readonly #folder: string;
  readonly #entries: Entry[] = [];
  readonly #record: number;
  /** Image with everything before entry {@link #durable}. */
  readonly #image: number;
  #durable = 0;

  constructor(folder: string) {
    this.#folder = folder;
    this.#record = openSync(join(folder, "record"), "r");
    copyFileSync(join(folder, "base"), join(folder, "durable"));
    this.#image = openSync(join(folder, "durable"), "r+");
    const head = Buffer.alloc(16);
    for (let at = 0; readSync(this.#record, head, 0, 16, at) === 16; ) {
      const length = head.readUInt32LE(0);
      this.#entries.push({ offset: head.readDoubleLE(8), length, at: at + 16 });
      at += 16 + (length === FLUSH ? 0 : length);
    }
  }

  get count(): number {
    return this.#entries.length;
  }

  /** Writes the image to `path`: power is lost when `position` entries were done. */
  cut(
    position: number,
    path: string,
    prng: Prng,
  ): { readonly lost: number; readonly kept: number } {
    let flush = position - 1;
    while (flush >= 0 && this.#entries[flush]?.length !== FLUSH) flush -= 1;
    for (; this.#durable < flush; this.#durable++) {
      this.#write(this.#image, this.#entries[this.#durable] as Entry, () => true);
    }
    copyFileSync(join(this.#folder, "durable"), path, constants.COPYFILE_FICLONE);
    const target = openSync(path, "r+");
    const found = { lost: 0, kept: 0 };
    // Some cuts lose nearly everything, some nearly nothing.
    const share = prng.uint32() % 101;
    for (const entry of this.#entries.slice(Math.max(0, flush), position)) {
      this.#write(target, entry, () => {
        const isKept = prng.uint32() % 100 < share;
        found[isKept ? "kept" : "lost"] += 1;
        return isKept;
      });
    }
    closeSync(target);
    return found;
  }

  #write(fd: number, { offset, length, at }: Entry, keeps: () => boolean): void {
    if (length === FLUSH) return;
    const bytes = Buffer.alloc(length);
    readSync(this.#record, bytes, 0, length, at);
    for (let from = 0; from < length; from += BLOCK) {
      const size = Math.min(BLOCK, length - from);
      if (keeps()) writeSync(fd, bytes, from, size, offset + from);
    }
  }

  close(): void {
    closeSync(this.#record);
    closeSync(this.#image);
  }
}
