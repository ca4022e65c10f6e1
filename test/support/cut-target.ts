/**
 * A target in this process whose machine loses power: a fake source, a log of all its ops in
 * memory, a replica, and an applier that makes checkpoints. What a power cut does to the replica is
 * done by hand: names stay as they were at the cut, what was written since the checkpoint may be
 * there or not.
 */
import assert from "node:assert/strict";
import {
  closeSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  rmSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { type Notice, ApplierRuntime, type Recovery } from "../../src/agent/applier-runtime.ts";
import {
  checkpointHead,
  markForRecovery,
  resumeRing,
  writeCheckpoint,
} from "../../src/agent/checkpoint.ts";
import type { Prng } from "../../src/base/prng.ts";
import { CommandQueue } from "../../src/journal/command-queue.ts";
import { NO_ROOM, Ring, RingWriter } from "../../src/journal/ring.ts";
import { TYPE_REGULAR } from "../../src/model/node-tree.ts";
import { OpKind, OpView, SETATTR_MTIME, SETATTR_SIZE } from "../../src/model/op.ts";
import { sealPacked } from "../../src/platform/packed-file.ts";
import { compareTrees } from "./compare-trees.ts";
import type { FakeSource } from "./fake-source.ts";
import { OpLog } from "./op-log.ts";

const STREAM = "stream";
const PAUSE_MS = 100;
const RING = { arenas: 2, indexSlots: 1 << 14, arenaBytes: 16 << 20 };

export interface CutTargetOptions {
  readonly orphans?: "keep" | "aside" | "delete";
  readonly prepare?: (paths: { readonly source: string; readonly replica: string }) => void;
}

export class CutTarget {
  readonly home: string = mkdtempSync(`${tmpdir()}/standin-cut-`);
  readonly source: FakeSource;
  readonly notices: Notice[] = [];
  readonly recoveries: Recovery[] = [];
  runtime!: ApplierRuntime;
  ring!: Ring;
  #shm = "";
  readonly #orphans: "keep" | "aside" | "delete";
  readonly #log: OpLog;
  readonly #sizes = new Map<number, number>();
  readonly #shms: string[] = [];
  /** How much later it is for the runtime than it really is: nobody waits for its pauses. */
  #aheadMs = 0;

  constructor(options: CutTargetOptions = {}) {
    this.#orphans = options.orphans ?? "aside";
    mkdirSync(`${this.home}/source`);
    mkdirSync(this.replica);
    options.prepare?.({ source: `${this.home}/source`, replica: this.replica });
    this.#log = new OpLog(`${this.home}/source`, this.#newShm());
    this.source = this.#log.source;
    this.#boot(1);
    this.#start();
  }

  get replica(): string {
    return `${this.home}/replica`;
  }
  get #checkpointPath(): string {
    return `${this.home}/checkpoint`;
  }
  /** Last LSN of the log. */
  get end(): number {
    return this.#log.end;
  }

  #newShm(): string {
    const shm = mkdtempSync("/dev/shm/standin-cut-");
    this.#shms.push(shm);
    return shm;
  }

  remove(): void {
    for (const path of [this.home, ...this.#shms]) rmSync(path, { recursive: true, force: true });
  }

  #boot(firstLsn: number): void {
    this.#shm = this.#newShm();
    this.ring = Ring.create(`${this.#shm}/ring`, RING, firstLsn);
  }

  #start(): void {
    const config = {
      shmDir: this.#shm,
      mounts: [{ index: 0, rootIno: this.source.rootIno, replica: this.replica }],
      orphans: this.#orphans,
      checkpoint: { path: this.#checkpointPath, stream: STREAM },
    };
    this.runtime = new ApplierRuntime(config, {
      notice: (notice) => this.notices.push(notice),
      passStarted: () => {},
      passEnded: () => {},
      recovered: (outcome) => this.recoveries.push(outcome),
    });
  }

  /** Applies the log up to `lsn`. */
  apply(lsn: number): void {
    const writer = new RingWriter(this.ring, 0);
    for (;;) {
      while (this.ring.head < lsn && this.ring.hasIndexRoom()) {
        const record = this.#log.record(this.ring.head + 1);
        if (writer.reserve(record.length) === NO_ROOM) break;
        this.ring.memory.bytes.set(record, writer.at);
        writer.publish(record.length);
      }
      if (this.ring.applied >= lsn) return;
      const end = performance.now() + 1000;
      this.runtime.applyBatch(() => performance.now() + this.#aheadMs, end + this.#aheadMs);
      assert.equal(this.runtime.unavailable, undefined);
    }
  }

  /** One round of questions and answers. Returns how many ops are new. */
  ask(answersMax = Number.POSITIVE_INFINITY): number {
    const before = this.end;
    this.runtime.housekeep(performance.now() + this.#aheadMs);
    const queue = new CommandQueue(this.ring);
    for (let command = queue.peek(); command !== undefined; command = queue.peek()) {
      this.#log.queue.push(command);
      queue.pop();
    }
    this.source.serve(answersMax);
    return this.end - before;
  }

  /** Until the copy is complete. */
  settle(): void {
    const deadline = performance.now() + 30_000;
    for (let quiet = 0; quiet < 3; ) {
      assert.ok(performance.now() < deadline, "it settles");
      const news = this.ask();
      this.apply(this.end);
      const { control, tree } = this.runtime;
      if (news === 0) this.#aheadMs += PAUSE_MS;
      quiet = news > 0 || control.isPassActive || tree.wantedCount > 0 ? 0 : quiet + 1;
    }
    this.runtime.applier.replica.flush();
  }

  async checkpoint(): Promise<number> {
    this.runtime.applier.replica.flush();
    const madeAtSec = Math.floor(Date.now() / 1000);
    const { head } = writeCheckpoint(this.#checkpointPath, this.runtime, {
      stream: STREAM,
      madeAtSec,
    });
    await sealPacked(this.#checkpointPath);
    this.#sizes.clear();
    this.#noteSizes(this.replica);
    return head.lsn;
  }

  #noteSizes(folder: Buffer | string): void {
    for (const entry of readdirSync(folder, { withFileTypes: true, encoding: "buffer" })) {
      const at = Buffer.concat([Buffer.from(folder), Buffer.from("/"), entry.name]);
      if (entry.isDirectory()) this.#noteSizes(at);
      else if (entry.isFile()) this.#sizes.set(lstatSync(at).ino, lstatSync(at).size);
    }
  }

  /**
   * Memory is gone; of what was written since the checkpoint some reached the disk. `before`: done
   * before the machine comes back.
   */
  cut(prng: Prng, before: () => void = () => {}): void {
    const head = checkpointHead(this.#checkpointPath, STREAM);
    assert.ok(head !== undefined, "there is a checkpoint");
    this.runtime.applier.replica.closeAll();
    for (const [node, ops] of this.#touchedSince(head.lsn)) this.#damage(node, ops, prng);
    before();
    this.#boot(head.lsn + 1);
    resumeRing(this.ring, head);
    markForRecovery(this.#shm);
    this.#start();
  }

  #touchedSince(lsn: number): Map<number, OpView[]> {
    const touched = new Map<number, OpView[]>();
    for (const record of this.#log.between(lsn, this.ring.applied)) {
      const op = new OpView(record.slice().buffer);
      touched.set(op.node, [...(touched.get(op.node) ?? []), op]);
    }
    return touched;
  }

  #damage(ino: number, ops: readonly OpView[], prng: Prng): void {
    const { tree } = this.runtime;
    const node = tree.find(0, ino);
    const path = node === 0 ? undefined : tree.path(node);
    if (path === undefined || tree.type(node) !== TYPE_REGULAR) return;
    const at = Buffer.concat([Buffer.from(`${this.replica}/`), path]);
    const status = lstatSync(at, { throwIfNoEntry: false });
    if (status?.isFile() !== true) return;
    const mode = prng.uint32() % 4;
    if (mode === 0) return;
    const fd = openSync(at, "r+");
    let hasLostSize = mode === 3;
    for (const op of ops) {
      const isData = op.kind === OpKind.write || op.kind === OpKind.mirrorBlock;
      if (isData && op.length > 0 && prng.uint32() % 2 === 0) {
        const length = Math.min(op.length, status.size - op.offset);
        const bytes = Buffer.alloc(Math.max(0, length), mode === 1 ? 0 : 0xa5);
        if (length > 0) writeSync(fd, bytes, 0, length, op.offset);
      }
      if (op.kind === OpKind.setattr && (op.setattrValid & SETATTR_SIZE) !== 0) hasLostSize = false;
      if (op.kind === OpKind.mirrorNode) hasLostSize = false;
    }
    const least = this.#sizes.get(status.ino) ?? 0;
    if (hasLostSize && least < status.size) {
      ftruncateSync(fd, least + (prng.uint32() % (status.size - least + 1)));
    }
    closeSync(fd);
    if (ops.some(changesTime)) utimesSync(at, 1, prng.uint32() % 1e9);
  }

  differences(): string[] {
    this.runtime.applier.replica.flush();
    return compareTrees(this.source.root, this.replica);
  }
}

function changesTime(op: OpView): boolean {
  if (op.kind === OpKind.setattr) return (op.setattrValid & (SETATTR_SIZE | SETATTR_MTIME)) !== 0;
  return op.kind === OpKind.write || op.kind === OpKind.fallocate;
}
