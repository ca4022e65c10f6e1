import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import { Prng } from "./prng.ts";

test("Prng gives the same sequence for the same seed, in every release", () => {
  const prng = new Prng(42);
  // Golden values: a change here makes every recorded seed worthless.
  assert.deepEqual(
    [prng.uint32(), prng.uint32(), prng.uint32()],
    [3412328208, 488709286, 859938518],
  );
  assert.deepEqual([...prng.bytes(5)], [42, 103, 232, 33, 34]);
});

test("Prng gives different sequences for neighbouring, negative and large seeds", () => {
  const seeds = [0, 1, 2, -1, -2, 2 ** 32, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER];
  const firsts = seeds.map((seed) => new Prng(seed).uint32());
  assert.equal(new Set(firsts).size, seeds.length);
});

test("Prng.int() stays in range for every max", () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (seed, max) => {
      const value = new Prng(seed).int(max);
      assert.ok(Number.isSafeInteger(value) && value >= 0 && value < max);
    }),
  );
});

test("Prng.int() is even over its range", () => {
  const prng = new Prng(1);
  const counts = new Array<number>(6).fill(0);
  for (let draw = 0; draw < 60_000; draw++) counts[prng.int(6)]!++;
  for (const count of counts) assert.ok(Math.abs(count - 10_000) < 500, String(counts));
});

test("Prng.int(), chance() and pick() refuse arguments that have no answer", () => {
  const prng = new Prng(1);
  for (const max of [0, -1, 1.5, Number.NaN, 2 ** 53]) {
    assert.throws(() => prng.int(max), { name: "AssertionError" });
  }
  for (const probability of [-0.1, 1.1, Number.NaN]) {
    assert.throws(() => prng.chance(probability), { name: "AssertionError" });
  }
  assert.throws(() => prng.pick([]), { name: "AssertionError" });
});

test("Prng.chance() is never at 0, always at 1, and about right between", () => {
  const prng = new Prng(2);
  const hits = (probability: number) => {
    let count = 0;
    for (let draw = 0; draw < 10_000; draw++) if (prng.chance(probability)) count++;
    return count;
  };
  assert.equal(hits(0), 0);
  assert.equal(hits(1), 10_000);
  assert.ok(Math.abs(hits(0.25) - 2500) < 200);
});

test("Prng.pick() reaches every element", () => {
  const prng = new Prng(3);
  const items = ["a", "b", "c"];
  const seen = new Set(Array.from({ length: 100 }, () => prng.pick(items)));
  assert.deepEqual([...seen].sort(), items);
});

test("Prng.bytes() gives the asked length and uses all byte values", () => {
  for (const count of [0, 1, 3, 4, 5, 4096]) assert.equal(new Prng(4).bytes(count).length, count);
  assert.equal(new Set(new Prng(4).bytes(16_384)).size, 256);
});

test("Prng.shuffle() keeps the elements, works in place and reaches every order", () => {
  const prng = new Prng(5);
  const orders = new Set<string>();
  for (let round = 0; round < 300; round++) {
    const items = [1, 2, 3];
    assert.equal(prng.shuffle(items), items);
    orders.add(items.join(""));
  }
  assert.deepEqual([...orders].sort(), ["123", "132", "213", "231", "312", "321"]);
});

test("Prng.fork() is reproducible and apart from its parent", () => {
  const fork = (seed: number) => new Prng(seed).fork();
  assert.equal(fork(6).uint32(), fork(6).uint32());
  const parent = new Prng(6);
  const child = parent.fork();
  const before = new Prng(6);
  before.fork();
  for (let draw = 0; draw < 10; draw++) child.uint32();
  assert.equal(parent.uint32(), before.uint32());
});
