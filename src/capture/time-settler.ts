/**
 * Settles the modification times that the ops of writes left out (see write-times.ts): reads the
 * true one under the file's lock and publishes it. Part of the mirror thread, which writes to one
 * arena for all mounts.
 */
import { OwedTimes } from "../journal/owed-times.ts";
import { NO_ROOM, type RingWriter } from "../journal/ring.ts";
import { RecordingState } from "../journal/ring-layout.ts";
import { OpKind, SETATTR_MTIME } from "../model/op.ts";
import type { Clock } from "../platform/clock.ts";
import { EMFILE, ENFILE, ENOMEM } from "../platform/errno.ts";
import { Statx } from "../platform/statx.ts";
import { fillAttributes, SET_OP_BYTES } from "./handlers/attributes.ts";
import type { WorkerContext } from "./worker-context.ts";

/** A file that is written all the time is settled so often. */
export const SETTLE_MS = 25;

/** A file that cannot be opened just now, and has a time all the same. */
const SHORT_OF_MEANS: ReadonlySet<number> = new Set([-EMFILE, -ENFILE, -ENOMEM]);

export class TimeSettler {
  readonly #owed: OwedTimes;
  readonly #writer: RingWriter;
  readonly #contexts: ReadonlyMap<number, WorkerContext>;
  readonly #clock: Clock;
  readonly #statx = new Statx();
  #settledAtMs = Number.NEGATIVE_INFINITY;

  /** `contexts`: of each mount, of the mirror thread; `writer`: its pen. */
  constructor(writer: RingWriter, contexts: ReadonlyMap<number, WorkerContext>, clock: Clock) {
    this.#owed = new OwedTimes(writer.ring);
    this.#writer = writer;
    this.#contexts = contexts;
    this.#clock = clock;
  }

  /** A round, when one is due. Call often, with no lock in hand and no record begun. */
  look(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#settledAtMs < SETTLE_MS) return;
    this.#settledAtMs = nowMs;
    let isDone = true;
    for (const { mount, ino } of this.#owed.files()) {
      const context = this.#contexts.get(mount);
      if (context === undefined) this.#owed.clear(mount, ino);
      else if (!this.#settle(context, ino)) isDone = false;
    }
    if (isDone) this.#owed.countRound();
  }

  /** False: it stays owed. */
  #settle(context: WorkerContext, ino: number): boolean {
    const { beneath, locks, mount, use } = context;
    const error = beneath.useFile(ino, use, { write: false });
    if (SHORT_OF_MEANS.has(error)) return false;
    // The file is gone, or its number is that of a directory by now.
    const isGone = error < 0;
    locks.lock(ino);
    if (isGone) this.#owed.clear(mount, ino);
    const isSettled = isGone || this.settleLocked(mount, ino, use.fd);
    locks.unlock(ino);
    if (!isGone) beneath.release(use);
    return isSettled;
  }

  /**
   * Under the file's lock; `fd`: a descriptor of it. The next record of the pen follows behind.
   * False: it stays owed, since the ring has no room now, or the file cannot be asked.
   */
  settleLocked(mount: number, ino: number, fd: number): boolean {
    if (!this.#owed.isOwed(mount, ino)) return true;
    const { ring } = this.#writer;
    // While nothing is recorded nothing is owed: a pass will read all times.
    if (ring.recording === RecordingState.on) {
      if (this.#statx.of(fd) < 0 || !ring.hasIndexRoom()) return false;
      if (this.#writer.reserve(SET_OP_BYTES) === NO_ROOM) return false;
      this.#publish(mount, ino);
    }
    this.#owed.clear(mount, ino);
    return true;
  }

  #publish(mount: number, ino: number): void {
    const { op, at } = this.#writer;
    op.at(at).start(OpKind.setattr, mount, ino);
    fillAttributes(op, this.#statx, SETATTR_MTIME);
    this.#writer.publish(op.size);
  }
}
