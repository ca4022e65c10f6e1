import { assert } from "./assert.ts";

const UINT32_COUNT = 2 ** 32;
const UINT53_COUNT = 2 ** 53;

/**
 * A seeded generator of pseudo-random numbers (xoshiro128**, Blackman and Vigna). The same seed
 * gives the same sequence on every machine and release: a seed printed by a failed simulation must
 * reproduce it. Not for secrets.
 */
export class Prng {
  readonly seed: number;
  readonly #state = new Uint32Array(4);

  constructor(seed: number) {
    assert(Number.isSafeInteger(seed), "Prng: the seed is an integer");
    this.seed = seed;
    // Mixed, as xoshiro's authors ask, so that neighbouring seeds share nothing; and from both
    // halves of the seed, in such a way that no two seeds give the same state.
    const low = splitMix32(seed >>> 0);
    const high = splitMix32(Math.floor(seed / UINT32_COUNT) >>> 0);
    this.#state.set([low(), low() ^ high(), high(), low()]);
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1; // the one state that is stuck
  }

  /** The next 32 bits. */
  uint32(): number {
    const s = this.#state;
    const result = Math.imul(rotateLeft(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const shifted = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= shifted;
    s[3] = rotateLeft(s[3]!, 11);
    return result;
  }

  /** A number in [0, 1) with 53 random bits. */
  float(): number {
    return this.#uint53() / UINT53_COUNT;
  }

  /** A whole number in [0, max), each equally likely. */
  int(max: number): number {
    assert(Number.isSafeInteger(max), "Prng.int: max is an integer");
    assert(max >= 1, "Prng.int: max is at least 1");
    return max <= UINT32_COUNT
      ? unbiased(max, UINT32_COUNT, () => this.uint32())
      : unbiased(max, UINT53_COUNT, () => this.#uint53());
  }

  /** True with the given probability: `chance(0)` never, `chance(1)` always. */
  chance(probability: number): boolean {
    assert(probability >= 0, "Prng.chance: the probability is at least 0");
    assert(probability <= 1, "Prng.chance: the probability is at most 1");
    return this.float() < probability;
  }

  /** One element, each equally likely. */
  pick<T>(items: readonly T[]): T {
    assert(items.length > 0, "Prng.pick: there is something to pick from");
    return items[this.int(items.length)]!;
  }

  bytes(count: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(count);
    for (let index = 0; index < count; index += 4) {
      const word = this.uint32();
      const end = Math.min(index + 4, count);
      for (let at = index; at < end; at++) bytes[at] = word >>> (8 * (at - index));
    }
    return bytes;
  }

  /** Shuffles in place (Fisher-Yates), each order equally likely, and returns the same array. */
  shuffle<T>(items: T[]): T[] {
    for (let last = items.length - 1; last > 0; last--) {
      const other = this.int(last + 1);
      [items[last], items[other]] = [items[other]!, items[last]!];
    }
    return items;
  }

  /**
   * A generator of its own for one part of a simulation, so that one more draw in that part does
   * not change what every other part does.
   */
  fork(): Prng {
    return new Prng(this.#uint53());
  }

  #uint53(): number {
    return (this.uint32() >>> 5) * 2 ** 26 + (this.uint32() >>> 6);
  }
}

/** Draws again where `draw() % max` would favour the small numbers. */
function unbiased(max: number, drawCount: number, draw: () => number): number {
  const limit = drawCount - (drawCount % max);
  for (;;) {
    const value = draw();
    if (value < limit) return value % max;
  }
}

function rotateLeft(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}

function splitMix32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let word = state;
    word = Math.imul(word ^ (word >>> 16), 0x21f0aaad);
    word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
    return (word ^ (word >>> 15)) >>> 0;
  };
}
