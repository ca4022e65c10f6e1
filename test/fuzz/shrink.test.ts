import assert from "node:assert/strict";
import { test } from "node:test";
import { shrink } from "./shrink.ts";

const numbers = Array.from({ length: 200 }, (_, i) => i);

test("shrink finds the few items that make it fail", async () => {
  const fails = async (items: readonly number[]) => [3, 77, 150].every((n) => items.includes(n));
  assert.deepEqual(await shrink(numbers, fails), [3, 77, 150]);
});

test("shrink keeps an order that matters, and one item that is enough", async () => {
  const inOrder = async (items: readonly number[]) => items.indexOf(9) < items.indexOf(4);
  assert.deepEqual(await shrink([9, 1, 2, 4], inOrder), [4]);
  assert.deepEqual(await shrink(numbers, async (items) => items.includes(199)), [199]);
});

test("shrink ends after its tries with what still fails", async () => {
  let tries = 0;
  const fails = async (items: readonly number[]) => {
    tries += 1;
    return items.includes(5) && items.includes(6);
  };
  const found = await shrink(numbers, fails, 10);
  assert.ok(await fails(found));
  assert.ok(tries <= 11);
});
