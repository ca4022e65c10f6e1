/** Medians and ratios of interleaved rounds. A round that failed is null. */

export type Rounds = readonly (number | null)[];

export interface Ratio {
  /** Of the medians. */
  readonly ratio: number;
  /** Smallest and largest of the rounds' own ratios. */
  readonly min: number;
  readonly max: number;
}

export function median(values: readonly number[]): number | null {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle];
  if (high === undefined) return null;
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] as number)) / 2;
}

export function medianOfRounds(rounds: Rounds): number | null {
  return median(rounds.filter((value) => value !== null));
}

/** Null when one of the two has no round in common with the other. */
export function ratioOf(rounds: Rounds, reference: Rounds): Ratio | null {
  const [above, below] = [medianOfRounds(rounds), medianOfRounds(reference)];
  const each = rounds.flatMap((value, index) => {
    const other = reference[index];
    return value === null || other === null || other === undefined ? [] : [value / other];
  });
  if (above === null || below === null || each.length === 0) return null;
  return {
    ratio: rounded(above / below),
    min: rounded(Math.min(...each)),
    max: rounded(Math.max(...each)),
  };
}

/** To three digits behind the point, or one for large figures: more would be noise. */
export function rounded(value: number): number {
  const factor = Math.abs(value) >= 100 ? 10 : 1000;
  return Math.round(value * factor) / factor;
}

/** The order of round number `round`: each goes first in turn. */
export function rotated<T>(items: readonly T[], round: number): T[] {
  return items.map((_, index) => items[(index + round) % items.length] as T);
}
