/**
 * Makes checkpoints while ops are applied: copies the memory between two ops, lets the replica's
 * file systems write out what they hold, and only then puts the checkpoint in its place.
 */
import { close, syncfsAsync } from "../platform/libc.ts";
import type { Clock } from "../platform/clock.ts";
import { removePacked, sealPacked } from "../platform/packed-file.ts";
import { openRoot } from "../platform/replica-files.ts";
import type { CheckpointConfig } from "./applier-config.ts";
import type { ApplierRuntime } from "./applier-runtime.ts";
import { checkpointHead, writeCheckpoint } from "./checkpoint.ts";

const BYTES_DUE = 256 << 20;
const MS_DUE = 60_000;
/** A checkpoint that held the applier for long is made less often: at most 5 % of the time. */
const PAUSE_FACTOR = 20;

export class Checkpointer {
  readonly #config: CheckpointConfig;
  readonly #runtime: ApplierRuntime;
  readonly #clock: Clock;
  readonly #emit: (event: Record<string, unknown>) => void;
  #running: Promise<void> | undefined;
  /** Of the last checkpoint, or of the last try. */
  #lsn: number;
  #bytes: number;
  #atMs: number;
  #pauseMs = 0;
  #isAsked = false;

  constructor(
    config: CheckpointConfig,
    runtime: ApplierRuntime,
    clock: Clock,
    emit: (event: Record<string, unknown>) => void,
  ) {
    this.#config = config;
    this.#runtime = runtime;
    this.#clock = clock;
    this.#emit = emit;
    this.#lsn = checkpointHead(config.path, config.stream)?.lsn ?? -1;
    this.#bytes = runtime.bytesApplied;
    this.#atMs = clock.monotonicMs();
  }

  /** To be called between two ops, again and again. */
  look(): void {
    if (this.#running === undefined && this.#isDue()) this.#start();
  }

  /** The end may be near: what {@link end} would have to write out is written out soon. */
  prepare(): void {
    this.#isAsked = this.#runtime.ring.applied !== this.#lsn;
  }

  #isDue(): boolean {
    const { ring, bytesApplied, unavailable } = this.#runtime;
    if (ring.applied === this.#lsn || unavailable !== undefined) return false;
    const { everyMs = MS_DUE, everyBytes = BYTES_DUE } = this.#config;
    const sinceMs = this.#clock.monotonicMs() - this.#atMs;
    if (sinceMs < this.#pauseMs * PAUSE_FACTOR) return false;
    if (this.#isAsked) return true;
    return sinceMs >= everyMs || bytesApplied - this.#bytes >= everyBytes;
  }

  #start(): void {
    const { path, stream } = this.#config;
    const runtime = this.#runtime;
    const startMs = this.#clock.monotonicMs();
    this.#isAsked = false;
    this.#lsn = runtime.ring.applied;
    this.#bytes = runtime.bytesApplied;
    this.#atMs = startMs;
    try {
      runtime.applier.replica.flush();
      const madeAtSec = Math.floor(this.#clock.wallMs() / 1000);
      const { head, bytes } = writeCheckpoint(path, runtime, { stream, madeAtSec });
      this.#pauseMs = this.#clock.monotonicMs() - startMs;
      this.#running = this.#finish(head.lsn, bytes, startMs)
        .catch((error: unknown) => this.#failed(error))
        .finally(() => {
          this.#running = undefined;
        });
    } catch (error) {
      this.#running = this.#failed(error).finally(() => {
        this.#running = undefined;
      });
    }
  }

  async #finish(lsn: number, bytes: number, startMs: number): Promise<void> {
    for (const { path } of this.#runtime.roots.values()) await syncFileSystemOf(path);
    await sealPacked(this.#config.path);
    const ms = Math.round(this.#clock.monotonicMs() - startMs);
    this.#emit({ event: "checkpoint", lsn, bytes, ms, pauseMs: Math.round(this.#pauseMs) });
  }

  /**
   * Without a checkpoint the log may be cut as ops are applied; with an old one it would grow for
   * ever, and it may be the log that has filled the disk.
   */
  async #failed(error: unknown): Promise<void> {
    let isRemoved = true;
    await removePacked(this.#config.path).catch(() => {
      isRemoved = false;
    });
    this.#emit({ event: "checkpoint-failed", message: (error as Error).message, isRemoved });
  }

  /** A last one, of all that was applied. */
  async end(): Promise<void> {
    await this.#running;
    if (this.#runtime.ring.applied !== this.#lsn && this.#runtime.unavailable === undefined) {
      this.#start();
    }
    await this.#running;
  }
}

/** By a new descriptor each time: an error that another one has reported is not told again. */
async function syncFileSystemOf(path: string): Promise<void> {
  const fd = openRoot(path);
  const result = fd < 0 ? fd : await syncfsAsync(fd);
  if (fd >= 0) close(fd);
  if (result < 0) throw new Error(`${path} could not be written out (errno ${-result})`);
}
