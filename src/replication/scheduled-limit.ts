/**
 * The bandwidth limit of one target: a fixed one, and windows of the week in which another one
 * holds. Looked at each second, so that a change of the settings, of the clock or of the time
 * zone's offset holds at once, on the connection that there is. Pure.
 */
import { Bandwidth } from "./bandwidth.ts";
import { WEEK_MINUTES, WeeklySchedule } from "./weekly-schedule.ts";

export interface LimitSettings {
  /** Bytes a second outside the schedule's windows; null: no limit. */
  readonly limitBytes: number | null;
  /** See {@link WeeklySchedule}. */
  readonly schedule: readonly string[];
}

export interface LimitState {
  /** Bytes a second; null: as fast as it goes. */
  readonly bytesPerSecond: number | null;
  /** When another limit will hold, in milliseconds since 1970; null: never. */
  readonly untilMs: number | null;
}

/** The minute of the week, where the source is, at an instant in milliseconds since 1970. */
export type WeekMinuteOf = (wallMs: number) => number;

const LOOK_MS = 1000;
const MINUTE_MS = 60_000;

export class ScheduledLimit {
  readonly #weekMinuteOf: WeekMinuteOf;
  readonly #bandwidth = new Bandwidth(undefined);
  #limitBytes: number | null = null;
  #schedule = WeeklySchedule.parse([]);
  #lookAtMs = Number.NEGATIVE_INFINITY;
  #known: (LimitState & { readonly minute: number }) | undefined;

  /** @throws {StandinError} `INVALID_SCHEDULE` */
  constructor(settings: LimitSettings, weekMinuteOf: WeekMinuteOf) {
    this.#weekMinuteOf = weekMinuteOf;
    this.change(settings);
  }

  get settings(): LimitSettings {
    return { limitBytes: this.#limitBytes, schedule: this.#schedule.texts };
  }

  /** From now on. @throws {StandinError} `INVALID_SCHEDULE`: nothing was changed. */
  change({ limitBytes, schedule }: LimitSettings): void {
    this.#schedule = WeeklySchedule.parse(schedule);
    this.#limitBytes = limitBytes;
    this.#lookAtMs = Number.NEGATIVE_INFINITY;
    this.#known = undefined;
  }

  /** See {@link Bandwidth.allowance}. */
  allowance(monotonicMs: number, wallMs: number, sentTotal: number): number {
    if (monotonicMs >= this.#lookAtMs) {
      this.#lookAtMs = monotonicMs + LOOK_MS;
      this.#bandwidth.limit(this.#limitAt(wallMs) ?? undefined);
    }
    return this.#bandwidth.allowance(monotonicMs, sentTotal);
  }

  state(wallMs: number): LimitState {
    const minute = Math.floor(wallMs / MINUTE_MS);
    if (this.#known?.minute !== minute) {
      const bytesPerSecond = this.#limitAt(wallMs);
      this.#known = { minute, bytesPerSecond, untilMs: this.#changeAfter(minute, bytesPerSecond) };
    }
    const { bytesPerSecond, untilMs } = this.#known;
    return { bytesPerSecond, untilMs };
  }

  #limitAt(wallMs: number): number | null {
    const window = this.#schedule.windowAt(this.#weekMinuteOf(wallMs));
    return window === undefined ? this.#limitBytes : window.bytesPerSecond;
  }

  /**
   * Each minute is asked for, since only the clock knows which of them a change to or from summer
   * time skips or repeats. After a week and the hours of such a change, all have been seen.
   */
  #changeAfter(minute: number, bytesPerSecond: number | null): number | null {
    if (this.#schedule.texts.length === 0) return null;
    for (let ahead = 1; ahead <= WEEK_MINUTES + DAY_MINUTES; ahead++) {
      const wallMs = (minute + ahead) * MINUTE_MS;
      if (this.#limitAt(wallMs) !== bytesPerSecond) return wallMs;
    }
    return null;
  }
}

const DAY_MINUTES = 24 * 60;
