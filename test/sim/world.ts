/** Time, chance and memory of a simulation: what everything in it shares. */
import { Prng } from "../../src/base/prng.ts";
import { EventQueue } from "./event-queue.ts";

const LINES_KEPT = 60;

/** The property that a run broke. Thrown by a checker, from within whatever it looks at. */
export class Violation extends Error {
  override readonly name = "Violation";
  readonly checker: string;

  constructor(checker: string, message: string) {
    super(`${checker}: ${message}`);
    this.checker = checker;
  }
}

export class World {
  readonly queue = new EventQueue();
  readonly prng: Prng;
  /** Disks that do their work in promises and have some under way. */
  promisesUnderWay = 0;
  /** The first error of code that runs in a promise. */
  failure: unknown;
  readonly #isTraced: boolean;
  readonly #print: ((line: string) => void) | undefined;
  #lines: string[] = [];

  constructor(
    seed: number,
    trace: { isKept: boolean; print?: ((line: string) => void) | undefined },
  ) {
    this.prng = new Prng(seed);
    this.#isTraced = trace.isKept;
    this.#print = trace.print;
  }

  get nowMs(): number {
    return this.queue.nowMs;
  }

  after(delayMs: number, run: () => void): void {
    this.queue.after(delayMs, run);
  }

  /** Exponentially distributed: short mostly, long sometimes. */
  around(meanMs: number): number {
    return -Math.log(1 - this.prng.float()) * meanMs;
  }

  between(min: number, max: number): number {
    return min + this.prng.float() * (max - min);
  }

  /** `text` is only called when somebody wants to read it. */
  trace(who: string, text: () => string): void {
    if (!this.#isTraced) return;
    const line = `${this.nowMs.toFixed(2).padStart(11)} ${who.padEnd(8)} ${text()}`;
    this.#print?.(line);
    this.#lines.push(line);
    if (this.#lines.length > 2 * LINES_KEPT) this.#lines = this.#lines.slice(-LINES_KEPT);
  }

  /** The last events, oldest first. */
  get lastLines(): readonly string[] {
    return this.#lines.slice(-LINES_KEPT);
  }
}
