/** What was measured, by row and contender. */
import { loadavg } from "node:os";

import { median, rounded } from "../statistics.ts";
import type { Cut } from "./cuts.ts";
import type { StallWatch } from "./stall-watch.ts";
import type { Figures } from "./steps.ts";

/** A longer stop of the benchmark itself spoils a figure. */
const STALL_MS_MAX = 1000;
const ATTEMPTS = 4;

interface Note {
  readonly figures: Figures;
  /** How long the benchmark itself stood still meanwhile. */
  readonly stallMs: number;
  readonly loadAverage: number;
  /** How often it was tried again, because the benchmark stood still. */
  readonly repeated: number;
}

export class Notes {
  readonly #notes = new Map<string, Note[]>();
  readonly #cuts = new Map<string, Cut[]>();
  readonly #problems: string[] = [];

  problem(contender: string, message: string): void {
    this.#problems.push(`${contender}: ${message.slice(0, 300)}`);
  }

  cuts(contender: string, cuts: Cut[]): void {
    this.#cuts.set(contender, cuts);
    const clean = cuts.filter(({ verdict }) => verdict === null).length;
    console.error(`  ${contender}: ${clean} of ${cuts.length} cuts are clean`);
  }

  /** Runs a step; again when somebody stopped this benchmark meanwhile. */
  async take(
    watch: StallWatch,
    row: string,
    contender: string,
    step: () => Promise<Figures>,
  ): Promise<void> {
    for (let repeated = 0; ; repeated++) {
      watch.takeLongestMs();
      const loadAverage = loadavg()[0] as number;
      const figures = await step();
      const stallMs = watch.takeLongestMs();
      console.error(`  ${row}: ${JSON.stringify(roundedAll(figures))}`);
      if (stallMs > STALL_MS_MAX) console.error(`  the benchmark stood still for ${stallMs} ms`);
      if (stallMs > STALL_MS_MAX && repeated + 1 < ATTEMPTS) continue;
      const key = `${row} ${contender}`;
      const note = { figures, stallMs: Math.round(stallMs), loadAverage, repeated };
      this.#notes.set(key, [...(this.#notes.get(key) ?? []), note]);
      return;
    }
  }

  result(contenders: readonly string[]): object {
    const rows = [...new Set([...this.#notes.keys()].map((key) => key.split(" ")[0] as string))];
    const results = rows.map((row) => ({
      row,
      ...Object.fromEntries(contenders.map((name) => [name, this.#summary(`${row} ${name}`)])),
    }));
    const cuts = Object.fromEntries([...this.#cuts].map(([name, all]) => [name, counted(all)]));
    return { results, cuts, problems: this.#problems };
  }

  #summary(key: string): object | null {
    const notes = this.#notes.get(key);
    if (notes === undefined) return null;
    const names = Object.keys(notes[0]?.figures ?? {});
    const figures = names.map((name) => {
      const rounds = notes.map((note) => rounded(note.figures[name] ?? Number.NaN));
      const [min, max] = [Math.min(...rounds), Math.max(...rounds)];
      return [name, { median: median(rounds), min, max, rounds }];
    });
    return {
      ...Object.fromEntries(figures),
      loadAverage: notes.map(({ loadAverage }) => rounded(loadAverage)),
      repeated: notes.map(({ repeated }) => repeated),
      stallMs: notes.map(({ stallMs }) => stallMs),
    };
  }
}

function roundedAll(figures: Figures): Figures {
  return Object.fromEntries(Object.entries(figures).map(([name, value]) => [name, rounded(value)]));
}

function counted(cuts: readonly Cut[]): object {
  const count = (wanted: Cut["verdict"]) => cuts.filter(({ verdict }) => verdict === wanted).length;
  const behind = cuts.flatMap(({ behindSeconds }) => (behindSeconds === null ? [] : behindSeconds));
  const firstWrong = cuts.filter(({ verdict }) => verdict !== null).slice(0, 5);
  return {
    cuts: cuts.length,
    clean: count(null),
    doesNotStart: count("does not start"),
    sumsDiffer: count("sums differ"),
    tablesBroken: count("tables broken"),
    pagesBroken: count("pages broken"),
    // A promotion would have been refused, and said why.
    notCleanAndSaid: cuts.filter((cut) => cut.verdict !== null && cut.warning !== null).length,
    cleanAndSaid: cuts.filter((cut) => cut.verdict === null && cut.warning !== null).length,
    behindSeconds: {
      median: rounded(median(behind) ?? Number.NaN),
      max: rounded(Math.max(...behind)),
      told: behind.length,
    },
    frozenSecondsMax: rounded(Math.max(...cuts.map(({ frozenSeconds }) => frozenSeconds))),
    examples: firstWrong.map(({ verdict, message }) => `${verdict}: ${message?.slice(-400)}`),
  };
}
