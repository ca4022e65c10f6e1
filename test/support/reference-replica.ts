/** A replica that no power was ever cut from, as of any LSN. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { ApplierRuntime } from "../../src/agent/applier-runtime.ts";
import { NO_ROOM, Ring, RingWriter } from "../../src/journal/ring.ts";
import { closeRuntime } from "./close-runtime.ts";
import type { OpLog } from "./op-log.ts";

const RING = { arenas: 1, indexSlots: 1 << 14, arenaBytes: 16 << 20 };

export class ReferenceReplica {
  readonly #folder: string;
  readonly #ops: OpLog;
  #shm = "";
  #ring: Ring | undefined;
  #runtime: ApplierRuntime | undefined;

  constructor(folder: string, ops: OpLog) {
    this.#folder = folder;
    this.#ops = ops;
  }

  get path(): string {
    return `${this.#folder}/replica`;
  }

  goTo(lsn: number): void {
    if (this.#ring === undefined || this.#ring.applied > lsn) this.#begin();
    const ring = this.#ring as Ring;
    const runtime = this.#runtime as ApplierRuntime;
    const writer = new RingWriter(ring, 0);
    while (ring.applied < lsn) {
      while (ring.head < lsn && ring.hasIndexRoom()) {
        const record = this.#ops.record(ring.head + 1);
        if (writer.reserve(record.length) === NO_ROOM) break;
        ring.memory.bytes.set(record, writer.at);
        writer.publish(record.length);
      }
      runtime.applyBatch(() => performance.now(), performance.now() + 1000);
    }
    runtime.applier.replica.flush();
  }

  #begin(): void {
    this.#end();
    this.#shm = mkdtempSync("/dev/shm/standin-reference-");
    mkdirSync(this.path, { recursive: true });
    this.#ring = Ring.create(`${this.#shm}/ring`, RING);
    this.#runtime = new ApplierRuntime(
      {
        shmDir: this.#shm,
        mounts: [{ index: 0, rootIno: this.#ops.source.rootIno, replica: this.path }],
      },
      { notice: () => {}, passStarted: () => {}, passEnded: () => {} },
    );
  }

  /** Safe to call twice. */
  remove(): void {
    this.#end();
  }

  #end(): void {
    const runtime = this.#runtime;
    if (runtime === undefined) return;
    closeRuntime(runtime);
    this.#ring?.close();
    this.#runtime = undefined;
    this.#ring = undefined;
    for (const path of [this.#folder, this.#shm]) rmSync(path, { recursive: true, force: true });
  }
}
