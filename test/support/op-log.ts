/** A fake source and all ops that it ever recorded, in memory. */
import { closeSync, openSync, readSync } from "node:fs";
import { CommandQueue } from "../../src/journal/command-queue.ts";
import { Ring, RingReader } from "../../src/journal/ring.ts";
import type { AppendedEntry } from "../../src/journal/segment-log.ts";
import { FakeSource } from "./fake-source.ts";

const RING = { arenas: 2, indexSlots: 1 << 14, arenaBytes: 16 << 20 };

/** Jobs over the network have no copy ops: they would read what later ops have changed. */
export class SourceWithoutCopies extends FakeSource {
  override copy(path: string, offset: number, from: string, fromOffset: number, bytes: number) {
    const data = Buffer.alloc(bytes);
    const fd = openSync(`${this.root}/${from}`, "r");
    const got = readSync(fd, data, 0, bytes, fromOffset);
    closeSync(fd);
    if (got > 0) this.write(path, offset, data.subarray(0, got));
  }
}

export class OpLog {
  readonly source: FakeSource;
  /** For the source's mirror. */
  readonly queue: CommandQueue;
  readonly #reader: RingReader;
  readonly #records: Uint8Array[] = [];
  #taken = 0;

  /** The source's ring is made in `shm`. */
  constructor(sourcePath: string, shm: string) {
    const ring = Ring.create(`${shm}/ring`, RING);
    this.#reader = new RingReader(ring);
    this.queue = new CommandQueue(ring);
    this.source = new SourceWithoutCopies(sourcePath, ring);
  }

  #pull(): void {
    const reader = this.#reader;
    for (let op = reader.peek(); op !== undefined; op = reader.peek()) {
      this.#records.push(op.bytes.slice(op.base, op.base + op.size));
      reader.release();
    }
  }

  /** Last LSN. */
  get end(): number {
    this.#pull();
    return this.#records.length;
  }

  record(lsn: number): Uint8Array {
    return this.#records[lsn - 1] as Uint8Array;
  }

  /** Records behind `lsn`, up to `end`. */
  between(lsn: number, end: number): readonly Uint8Array[] {
    return this.#records.slice(lsn, end);
  }

  /** What was recorded since the last call, for a log; undefined when nothing was. */
  takeNew(): AppendedEntry | undefined {
    const { end } = this;
    if (end === this.#taken) return undefined;
    const payload = Buffer.concat(this.#records.slice(this.#taken, end).map(padded));
    const entry = { firstLsn: this.#taken + 1, lastLsn: end, payload };
    this.#taken = end;
    return entry;
  }
}

/** Records stand at multiples of 8. */
function padded(record: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc((record.length + 7) & ~7);
  bytes.set(record);
  return bytes;
}
