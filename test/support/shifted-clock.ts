/**
 * To be imported before all else, `node --import`: the wall clock of this process, and of those
 * that it starts, is wrong by STANDIN_CLOCK_MS. Not what TLS itself holds certificates against.
 */
const shiftMs = Number(process.env.STANDIN_CLOCK_MS ?? 0);
const Right = Date;
const now = Right.now;

class Shifted extends Right {
  constructor(...given: [] | ConstructorParameters<DateConstructor>) {
    if (given.length === 0) super(now() + shiftMs);
    else super(...given);
  }

  static override now(): number {
    return now() + shiftMs;
  }
}

globalThis.Date = Shifted as DateConstructor;

/** A command that runs another with such a clock. */
export function withClock(aheadMs: number): string[] {
  return ["env", `NODE_OPTIONS=--import=${import.meta.filename}`, `STANDIN_CLOCK_MS=${aheadMs}`];
}
