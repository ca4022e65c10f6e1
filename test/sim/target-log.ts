/**
 * The log of one stream on a target's disk, as its runner uses it; and a simple model of it, which
 * tears and forgets. The real one is in {@link file://./segment-disk.ts}.
 */
import type { Process } from "./machine.ts";
import type { Op } from "./messages.ts";
import type { World } from "./world.ts";

export type SyncResult =
  | { readonly kind: "synced"; readonly durable: number }
  /** The disk is full; nothing is lost. */
  | { readonly kind: "refused" }
  /** The log must be opened anew. */
  | { readonly kind: "failed" };

export interface TargetLog {
  /** That of the last op, or the one that was started; 0 in an empty log. */
  readonly stream: number;
  /** Found when it was opened, and appended since. */
  readonly ops: readonly Op[];
  readonly appendedLsn: number;
  append(ops: readonly Op[]): void;
  sync(done: (result: SyncResult) => void): void;
  /** When it is synced, ops of this stream are appended from now on; otherwise all is as before. */
  startStream(stream: number, firstLsn: number, done: (result: SyncResult) => void): void;
}

/** What survives a process. Callbacks come through the process that asked, while it lives. */
export interface TargetDisk {
  isFull: boolean;
  /** The next sync ends with an error, and what was to be synced may be lost. */
  failsNextSync: boolean;
  open(process: Process, done: (log: TargetLog) => void): void;
  killed(): void;
  cutPower(): void;
}

export interface DiskOptions {
  readonly syncMsMin: number;
  readonly syncMsMax: number;
}

/** In the order in which they were written. */
type Entry = Op | StreamStart;

interface StreamStart {
  readonly starts: number;
  readonly firstLsn: number;
}

export class ModelDisk implements TargetDisk {
  isFull = false;
  failsNextSync = false;
  readonly world: World;
  readonly options: DiskOptions;
  /** A power cut leaves these. */
  durable: Entry[] = [];
  /** Written and not synced: a kill leaves these, a power cut any first part of them. */
  written: Entry[] = [];

  constructor(world: World, options: DiskOptions) {
    this.world = world;
    this.options = options;
  }

  open(process: Process, done: (log: TargetLog) => void): void {
    process.after(this.delayMs(), () => {
      this.durable.push(...this.written.splice(0));
      done(new ModelLog(this, process));
    });
  }

  delayMs(): number {
    return this.world.between(this.options.syncMsMin, this.options.syncMsMax);
  }

  killed(): void {}

  cutPower(): void {
    this.durable.push(...this.written.slice(0, this.world.prng.int(this.written.length + 1)));
    this.written = [];
  }
}

class ModelLog implements TargetLog {
  readonly ops: Op[] = [];
  stream = 0;
  appendedLsn = 0;
  readonly #disk: ModelDisk;
  readonly #process: Process;
  #queue: Entry[] = [];

  constructor(disk: ModelDisk, process: Process) {
    this.#disk = disk;
    this.#process = process;
    for (const entry of disk.durable) this.#note(entry);
  }

  #note(entry: Entry): void {
    if ("starts" in entry) {
      this.stream = entry.starts;
      this.appendedLsn = entry.firstLsn - 1;
    } else {
      this.ops.push(entry);
      this.appendedLsn = entry.lsn;
    }
  }

  append(ops: readonly Op[]): void {
    for (const op of ops) this.#note(op);
    this.#queue.push(...ops);
  }

  sync(done: (result: SyncResult) => void): void {
    const disk = this.#disk;
    const lsn = this.appendedLsn;
    this.#process.after(disk.delayMs() / 4, () => {
      if (disk.isFull) return done({ kind: "refused" });
      const count = this.#queue.findLastIndex((entry) => "starts" in entry || entry.lsn <= lsn) + 1;
      disk.written.push(...this.#queue.splice(0, count));
      const writtenCount = disk.written.length;
      this.#process.after(disk.delayMs(), () => {
        if (disk.failsNextSync) return this.#fail(done);
        disk.durable.push(...disk.written.splice(0, writtenCount));
        done({ kind: "synced", durable: lsn });
      });
    });
  }

  #fail(done: (result: SyncResult) => void): void {
    const { written, world } = this.#disk;
    this.#disk.failsNextSync = false;
    written.splice(world.prng.int(written.length + 1));
    done({ kind: "failed" });
  }

  startStream(stream: number, firstLsn: number, done: (result: SyncResult) => void): void {
    const start = { starts: stream, firstLsn };
    this.#queue.push(start);
    const { appendedLsn } = this;
    this.appendedLsn = firstLsn - 1;
    this.sync((result) => {
      if (result.kind === "synced") this.stream = stream;
      else {
        this.#queue = this.#queue.filter((entry) => entry !== start);
        this.appendedLsn = appendedLsn;
      }
      done(result);
    });
  }
}
