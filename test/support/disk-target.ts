/**
 * The target's state and replica on one disk, run in this process as an agent and its applier run
 * them: log, feeder, applier, checkpoints.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { ApplierRuntime, type Recovery } from "../../src/agent/applier-runtime.ts";
import { checkpointStream } from "../../src/agent/checkpoint.ts";
import { Checkpointer } from "../../src/agent/checkpointer.ts";
import { createTargetRing } from "../../src/agent/jobs/target-life.ts";
import {
  checkpointPath,
  recoverRing,
  usableCheckpoint,
} from "../../src/agent/jobs/target-recovery.ts";
import { Counter } from "../../src/apply/apply-memory.ts";
import type { Ring } from "../../src/journal/ring.ts";
import { SegmentLog } from "../../src/journal/segment-log.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { folderLogFiles } from "../../src/platform/log-files.ts";
import { RingFeeder } from "../../src/replication/ring-feeder.ts";
import { closeRuntime } from "./close-runtime.ts";

export interface DiskTargetOptions {
  /** Where the disk is mounted. */
  readonly path: string;
  readonly rootIno: number;
  readonly checkpointMs: number;
}

const LOG_OPTIONS = { segmentBytes: 1 << 20, sparesMax: 2 };

export class DiskTarget {
  readonly log: SegmentLog;
  readonly ring: Ring;
  readonly runtime: ApplierRuntime;
  readonly recoveries: Recovery[] = [];
  readonly #checkpointer: Checkpointer;
  readonly #feeder: RingFeeder;
  readonly #stopping = new AbortController();
  readonly #shm: string;
  #feeding: Promise<void>;
  checkpoints = 0;
  failure: unknown;

  private constructor(log: SegmentLog, ring: Ring, shm: string, options: DiskTargetOptions) {
    const { path, rootIno, checkpointMs } = options;
    this.log = log;
    this.ring = ring;
    this.#shm = shm;
    const stream = checkpointStream(log);
    const checkpoint = { path: checkpointPath(`${path}/home`), stream, everyMs: checkpointMs };
    const config = {
      shmDir: shm,
      mounts: [{ index: 0, rootIno, replica: `${path}/replica` }],
      checkpoint,
    };
    this.runtime = new ApplierRuntime(config, {
      notice: () => {},
      passStarted: () => {},
      passEnded: () => {},
      recovered: (outcome) => this.recoveries.push(outcome),
    });
    this.#checkpointer = new Checkpointer(checkpoint, this.runtime, systemClock, (event) => {
      if (event.event !== "checkpoint") this.failure = event.message;
      else this.#trim(Number(event.lsn));
    });
    this.#feeder = new RingFeeder(log, ring, systemClock);
    this.#feeding = this.#feeder.run(this.#stopping.signal).catch((error: unknown) => {
      this.failure = error;
    });
  }

  static async create(options: DiskTargetOptions): Promise<DiskTarget> {
    mkdirSync(`${options.path}/home`);
    mkdirSync(`${options.path}/replica`);
    const log = await SegmentLog.open(await logFiles(options.path), LOG_OPTIONS);
    await log.startStream(Buffer.from("a stream's id..."), 1);
    const shm = mkdtempSync("/dev/shm/standin-disk-");
    return new DiskTarget(log, createTargetRing(shm, 1), shm, options);
  }

  /** After a power cut. @throws when there is no checkpoint that can be used */
  static async recover(options: DiskTargetOptions): Promise<DiskTarget> {
    const log = await SegmentLog.open(await logFiles(options.path), LOG_OPTIONS);
    const head = usableCheckpoint(`${options.path}/home`, log);
    if (head === undefined) throw new Error(`no checkpoint for ${log.firstLsn}..${log.lastLsn}`);
    const shm = mkdtempSync("/dev/shm/standin-disk-");
    return new DiskTarget(log, recoverRing(shm, head), shm, options);
  }

  get diverged(): number {
    return this.runtime.memory.apply.get(Counter.diverged);
  }

  #trim(lsn: number): void {
    this.checkpoints += 1;
    this.log.trimBelow(lsn + 1).catch((error: unknown) => {
      this.failure = error;
    });
  }

  /** One round of the applier's loop. */
  async work(asks = true): Promise<void> {
    const nowMs = systemClock.monotonicMs();
    this.runtime.applyBatch(() => systemClock.monotonicMs(), nowMs + 20);
    if (asks) {
      this.runtime.housekeep(nowMs);
      this.#checkpointer.look();
    }
    if (this.failure !== undefined) throw new Error(String(this.failure));
    if (this.runtime.unavailable !== undefined) throw this.runtime.unavailable;
    await systemClock.sleep(1);
  }

  /** Applies all that is durable, and asks for nothing. */
  async catchUp(): Promise<void> {
    while (this.ring.applied < this.log.durableLsn) await this.work(false);
    this.runtime.applier.replica.flush();
  }

  /** Gives everything back, so that the disk can be unmounted. */
  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#feeding;
    await this.#checkpointer.end().catch(() => undefined);
    closeRuntime(this.runtime);
    await this.log.close();
    this.ring.close();
    rmSync(this.#shm, { recursive: true, force: true });
  }
}

function logFiles(path: string) {
  return folderLogFiles(`${path}/home/log`);
}
