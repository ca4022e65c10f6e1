/** Interleaved rounds over targets, and what comes of them. */
import {
  medianOfRounds,
  type Ratio,
  ratioOf,
  rotated,
  rounded,
  type Rounds,
} from "./statistics.ts";
import { checkMount, type Target } from "./target.ts";

export interface Measurement {
  /** More is better. */
  readonly rate: number;
  readonly [figure: string]: number;
}

interface TargetRounds {
  readonly rounds: (Measurement | null)[];
  readonly problems: string[];
}

/** The rounds of one row, by target. */
export class Comparison {
  readonly #targets: readonly Target[];
  readonly #rounds = new Map<string, TargetRounds>();

  constructor(targets: readonly Target[]) {
    this.#targets = targets;
    for (const { name } of targets) this.#rounds.set(name, { rounds: [], problems: [] });
  }

  /** One run for each target; who is first changes from round to round. */
  async runRound(
    round: number,
    title: string,
    measure: (target: Target) => Promise<Measurement>,
  ): Promise<void> {
    for (const target of rotated(this.#targets, round)) {
      const own = this.#rounds.get(target.name) as TargetRounds;
      const run = await runOnce(target, measure);
      own.rounds.push(run.measurement);
      own.problems.push(...run.problems.map((problem) => `round ${round + 1}: ${problem}`));
      const shown = run.measurement === null ? "failed" : rounded(run.measurement.rate);
      console.error(`${title}  ${target.name}: ${[shown, ...run.problems].join("; ")}`);
    }
  }

  result(): object {
    const targets = this.#targets.map((target) => {
      const { rounds, problems } = this.#rounds.get(target.name) as TargetRounds;
      const figures = {
        rates: this.#rates(target).map((rate) => (rate === null ? null : rounded(rate))),
        median: nullOrRounded(medianOfRounds(this.#rates(target))),
        ...otherFigures(rounds),
        ...(problems.length === 0 ? {} : { problems }),
      };
      return [target.name, figures] as const;
    });
    return { targets: Object.fromEntries(targets), ratios: this.#ratios() };
  }

  #rates({ name }: Target): Rounds {
    return this.#rounds.get(name)?.rounds.map((run) => run?.rate ?? null) ?? [];
  }

  /** Of each target that is not the reference to the best peer, and of all to the reference. */
  #ratios(): object[] {
    const best = this.#bestPeer();
    const bare = this.#targets.find(({ kind }) => kind === "bare");
    return this.#targets.flatMap((target) => {
      const to = [target.kind === "own" ? best : undefined, bare];
      return to.flatMap((reference) => {
        if (reference === undefined || reference === target) return [];
        const ratio: Ratio | null = ratioOf(this.#rates(target), this.#rates(reference));
        const isPeer = reference.kind === "peer";
        const of = { of: target.name, to: reference.name };
        return [{ ...of, ...(isPeer ? { bestPeer: true } : {}), ...ratio }];
      });
    });
  }

  #bestPeer(): Target | undefined {
    const medianOf = (target: Target) => medianOfRounds(this.#rates(target)) ?? -1;
    const peers = this.#targets.filter((target) => target.kind === "peer" && medianOf(target) > 0);
    return peers.toSorted((a, b) => medianOf(b) - medianOf(a))[0];
  }
}

function nullOrRounded(value: number | null): number | null {
  return value === null ? null : rounded(value);
}

/** Medians of what was measured beside the rate. */
function otherFigures(rounds: readonly (Measurement | null)[]): object {
  const names = new Set(rounds.flatMap((run) => Object.keys(run ?? {})));
  names.delete("rate");
  const medians = [...names].map((name) => {
    return [name, nullOrRounded(medianOfRounds(rounds.map((run) => run?.[name] ?? null)))] as const;
  });
  return Object.fromEntries(medians);
}

interface Run {
  readonly measurement: Measurement | null;
  readonly problems: readonly string[];
}

async function runOnce(
  target: Target,
  measure: (target: Target) => Promise<Measurement>,
): Promise<Run> {
  try {
    await target.settle();
    const before = await target.health();
    checkMount(target);
    const measurement = await measure(target);
    checkMount(target);
    await target.settle();
    const after = await target.health();
    const problems: string[] = [];
    // Kept, but said: what is not recorded costs less.
    if (after.gaps > before.gaps) problems.push("the ring was full, changes were not recorded");
    if (after.restarts > before.restarts) problems.push("a process was started again");
    return { measurement, problems };
  } catch (error) {
    return { measurement: null, problems: [(error as Error).message] };
  }
}
