import assert from "node:assert/strict";
import { test } from "node:test";
import { RangeLedger } from "./range-ledger.ts";

const BLOCK = 1 << 20;

test("RangeLedger asks for neighbouring blocks in one range, up to a limit", () => {
  const ledger = new RangeLedger();
  for (let i = 0; i < 20; i++) ledger.add({ node: 1, offset: i * BLOCK, length: BLOCK });
  ledger.add({ node: 1, offset: 100 * BLOCK, length: BLOCK });
  assert.deepEqual(ledger.take(), { node: 1, offset: 0, length: 16 * BLOCK });
  assert.deepEqual(ledger.take(), { node: 1, offset: 16 * BLOCK, length: 4 * BLOCK });
  assert.deepEqual(ledger.take(), { node: 1, offset: 100 * BLOCK, length: BLOCK });
  assert.equal(ledger.take(), undefined);
});

test("RangeLedger says that a node is right when all its ranges have come", () => {
  const ledger = new RangeLedger();
  assert.equal(ledger.compared(5), true, "nothing differed");
  ledger.add({ node: 5, offset: 0, length: 1 });
  ledger.add({ node: 5, offset: 10, length: 1 });
  ledger.take();
  assert.equal(ledger.came(5, true), false);
  assert.equal(ledger.compared(5), false);
  ledger.take();
  assert.equal(ledger.came(5, true), true);
  assert.equal(ledger.isOpen(5), false);
});

test("RangeLedger does not call a node right of which a range has failed", () => {
  const ledger = new RangeLedger();
  ledger.add({ node: 5, offset: 0, length: 1 });
  ledger.take();
  assert.equal(ledger.compared(5), false);
  assert.equal(ledger.came(5, false), false);
  assert.equal(ledger.isOpen(5), false, "it can be compared again");
});

test("RangeLedger keeps one range over all when a node has too many", () => {
  const ledger = new RangeLedger();
  for (let i = 0; i <= 4096; i++) ledger.add({ node: 2, offset: i * 10, length: 1 });
  assert.deepEqual(ledger.take(), { node: 2, offset: 0, length: 40_961 });
  assert.equal(ledger.take(), undefined);
});
