/**
 * Which modification time the op of a write carries. The true one has to be asked for, and asking
 * makes the writes that follow dearer for everybody (see Statx.ofWritten): when it was asked for
 * behind each write, each fdatasync of a database's log committed the journal of its file system.
 * So a file that is written again and again is asked now and then, and the ops between carry a
 * guess, the time of the clock's last tick. The true time is owed, and follows soon
 * (time-settler.ts).
 *
 * A crash of the source before that leaves the guess in the copy, about a tick from the truth.
 */
import type { OwedTimes } from "../journal/owed-times.ts";
import type { Clock } from "../platform/clock.ts";
import type { Statx } from "../platform/statx.ts";

/** A file that was asked so recently is not asked again. */
const ASK_AGAIN_MS = 50;
/** Files that a worker remembers to have asked. */
const REMEMBERED = 64;

export class WriteTimes {
  readonly #mount: number;
  readonly #owed: OwedTimes;
  readonly #clock: Clock;
  readonly #asked = new Float64Array(REMEMBERED);
  readonly #askedAtMs = new Float64Array(REMEMBERED).fill(Number.NEGATIVE_INFINITY);

  constructor(mount: number, owed: OwedTimes, clock: Clock) {
    this.#mount = mount;
    this.#owed = owed;
    this.#clock = clock;
  }

  /**
   * The status of the regular file `ino`, open as `fd`, behind a write and before its op is
   * published, under its lock. Returns 0 or `-errno`.
   */
  readStatus(statx: Statx, fd: number, ino: number): number {
    const nowMs = this.#clock.monotonicMs();
    const place = ino % REMEMBERED;
    const wasAsked = this.#asked[place] === ino;
    const isRecent = wasAsked && nowMs - (this.#askedAtMs[place] as number) < ASK_AGAIN_MS;
    if (isRecent && this.#owed.owe(this.#mount, ino)) return statx.ofWritten(fd);
    this.#asked[place] = ino;
    this.#askedAtMs[place] = nowMs;
    return statx.of(fd);
  }
}
