/** The log of the product, on files in memory that tear, forget, fill up and fail. */
import { SegmentLog } from "../../src/journal/segment-log.ts";
import { isLogFull } from "../../src/journal/log-error.ts";
import type { LogFile, LogFiles } from "../../src/platform/log-files.ts";
import { MemoryLogFiles } from "../../src/platform/memory-log-files.ts";
import type { Process } from "./machine.ts";
import type { Op } from "./messages.ts";
import type { DiskOptions, SyncResult, TargetDisk, TargetLog } from "./target-log.ts";
import type { World } from "./world.ts";

const OP_BYTES = 16;
const OPTIONS = { segmentBytes: 2048, sparesMax: 2 };

export class SegmentDisk implements TargetDisk {
  failsNextSync = false;
  readonly world: World;
  readonly options: DiskOptions;
  #files: MemoryLogFiles;

  constructor(world: World, options: DiskOptions) {
    this.world = world;
    this.options = options;
    this.#files = this.#withFaults(new MemoryLogFiles(world.prng.fork()));
  }

  get isFull(): boolean {
    return this.#files.capacityBytes === 0;
  }
  set isFull(isFull: boolean) {
    this.#files.capacityBytes = isFull ? 0 : Number.POSITIVE_INFINITY;
  }

  open(process: Process, done: (log: TargetLog) => void): void {
    const files = slow(this.#files, process, this.options);
    this.inPromise(process, async () => {
      const log = await SegmentLog.open(files, OPTIONS).catch(passing);
      if (log === undefined) {
        process.after(this.options.syncMsMax, () => this.open(process, done));
        return;
      }
      const ops: Op[] = [];
      const reader = log.reader(log.firstLsn);
      for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) {
        ops.push(...decode(entry.payload));
      }
      await reader.close();
      process.post(() => done(new SegmentTargetLog(this, process, log, ops)));
    });
  }

  /** While it runs, the simulation lets promises go on between two events. */
  inPromise(process: Process, work: () => Promise<void>): void {
    this.world.promisesUnderWay += 1;
    const end = (error: unknown): void => {
      this.world.promisesUnderWay -= 1;
      if (!process.isDead) this.world.failure ??= error;
    };
    work().then(() => end(undefined), end);
  }

  killed(): void {
    this.#files = this.#withFaults(this.#files.reopen());
  }

  cutPower(): void {
    this.#files = this.#withFaults(this.#files.crash());
  }

  #withFaults(files: MemoryLogFiles): MemoryLogFiles {
    files.fault = (operation) => {
      if (operation !== "syncData" || !this.failsNextSync) return undefined;
      this.failsNextSync = false;
      return "EIO";
    };
    return files;
  }
}

class SegmentTargetLog implements TargetLog {
  readonly ops: Op[];
  readonly #disk: SegmentDisk;
  readonly #process: Process;
  readonly #log: SegmentLog;

  constructor(disk: SegmentDisk, process: Process, log: SegmentLog, ops: Op[]) {
    this.#disk = disk;
    this.#process = process;
    this.#log = log;
    this.ops = ops;
  }

  get stream(): number {
    return this.#log.stream?.[0] ?? 0;
  }
  get appendedLsn(): number {
    return this.#log.appendedLsn;
  }

  append(ops: readonly Op[]): void {
    const [first, last] = [ops[0] as Op, ops.at(-1) as Op];
    try {
      this.#log.append({ firstLsn: first.lsn, lastLsn: last.lsn, payload: encode(ops) });
    } catch (error) {
      if ((error as { code?: string }).code === "LOG_IO") return; // and its sync will say so
      throw error;
    }
    this.ops.push(...ops);
  }

  sync(done: (result: SyncResult) => void): void {
    this.#disk.inPromise(this.#process, async () => {
      const result = await resultOf(this.#log.sync());
      this.#process.post(() => done(result));
    });
  }

  startStream(stream: number, firstLsn: number, done: (result: SyncResult) => void): void {
    this.#disk.inPromise(this.#process, async () => {
      const id = new Uint8Array(16).fill(stream);
      const started = this.#log.startStream(id, firstLsn).then(() => this.#log.durableLsn);
      const result = await resultOf(started);
      this.#process.post(() => done(result));
    });
  }
}

/** A disk that is full or failed once may do better the next time. */
function passing(error: unknown): undefined {
  const { code } = error as { code?: string };
  if (code !== "LOG_IO" && code !== "LOG_FULL") throw error;
}

function resultOf(syncing: Promise<number>): Promise<SyncResult> {
  return syncing.then(
    (durable): SyncResult => ({ kind: "synced", durable }),
    (error: unknown): SyncResult => ({ kind: isLogFull(error) ? "refused" : "failed" }),
  );
}

/** Syncs take their time, before and after; the rest is done at once. */
function slow(files: LogFiles, process: Process, options: DiskOptions): LogFiles {
  const { world } = process.machine;
  const pause = (share: number): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    world.after(share * world.between(options.syncMsMin, options.syncMsMax), resolve);
    return promise;
  };
  const slowFile = (file: LogFile): LogFile => ({
    read: (into, position) => file.read(into, position),
    write: (pieces, position) => file.write(pieces, position),
    truncate: (bytes) => file.truncate(bytes),
    size: () => file.size(),
    close: () => file.close(),
    async syncData() {
      await pause(0.7);
      if (process.isDead) throw new Error("the process was killed");
      await file.syncData();
      await pause(0.3);
    },
  });
  return {
    list: () => files.list(),
    create: async (name) => slowFile(await files.create(name)),
    open: async (name) => slowFile(await files.open(name)),
    rename: (from, to) => files.rename(from, to),
    remove: (name) => files.remove(name),
    syncFolder: () => files.syncFolder(),
    freeBytes: () => files.freeBytes(),
  };
}

function encode(ops: readonly Op[]): Uint8Array {
  const bytes = new Uint8Array(ops.length * OP_BYTES);
  const view = new DataView(bytes.buffer);
  for (const [index, { stream, lsn, value, bytes: size }] of ops.entries()) {
    view.setUint32(index * OP_BYTES, stream);
    view.setUint32(index * OP_BYTES + 4, lsn);
    view.setUint32(index * OP_BYTES + 8, value);
    view.setUint32(index * OP_BYTES + 12, size);
  }
  return bytes;
}

function decode(payload: Uint8Array): Op[] {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const ops: Op[] = [];
  for (let at = 0; at < payload.length; at += OP_BYTES) {
    ops.push({
      stream: view.getUint32(at),
      lsn: view.getUint32(at + 4),
      value: view.getUint32(at + 8),
      bytes: view.getUint32(at + 12),
    });
  }
  return ops;
}
