/**
 * Decides how soon a dead engine is started again. Pure.
 *
 * A kill or a rare crash is answered at once, because applications wait meanwhile. An engine that
 * dies again and again right after its start would only burn the processor: pauses grow, and after
 * {@link GIVE_UP_AFTER} deaths in a row the mount is taken away instead, so that the folder can be
 * used again, unprotected.
 */

/** An engine that lived this long before somebody killed it had started well. */
const GOOD_LIFE_MS = 1000;
/**
 * One that ends by itself must have done its work for longer: on a busy machine, loading takes
 * seconds.
 */
const GOOD_LIFE_BEFORE_CRASH_MS = 60_000;
/** Deaths in a row that are answered at once. */
const AT_ONCE = 4;
const FIRST_PAUSE_MS = 50;
const PAUSE_MS_MAX = 5000;
const GIVE_UP_AFTER = 14;

export class EngineRestarts {
  #deathsInARow = 0;

  get deathsInARow(): number {
    return this.#deathsInARow;
  }

  /**
   * Milliseconds to wait before the next start, or undefined: give up. `isCrash`: nobody killed it.
   */
  afterDeath(livedMs: number, isCrash = false): number | undefined {
    const goodLifeMs = isCrash ? GOOD_LIFE_BEFORE_CRASH_MS : GOOD_LIFE_MS;
    this.#deathsInARow = livedMs >= goodLifeMs ? 1 : this.#deathsInARow + 1;
    if (this.#deathsInARow > GIVE_UP_AFTER) return undefined;
    const paused = this.#deathsInARow - AT_ONCE;
    return paused <= 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (paused - 1), PAUSE_MS_MAX);
  }
}
