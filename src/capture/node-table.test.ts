import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { after, test } from "node:test";
import fc from "fast-check";
import {
  HANDLE_BYTES_MAX,
  NODE_FLAG_HELD_BY_FD,
  NODE_FLAG_TMPFILE,
  NodeTable,
} from "./node-table.ts";

const home = mkdtempSync("/dev/shm/standin-nodes-");
after(() => rmSync(home, { recursive: true, force: true }));

let count = 0;
function newTable(slots = 1 << 12): { path: string; table: NodeTable } {
  count += 1;
  const path = `${home}/nodes-${count}`;
  return { path, table: NodeTable.create(path, 1, NodeTable.allocateLocks(), slots) };
}

/** A struct file_handle of which every word tells its number. */
function handle(number: number, bytes = 12): Uint32Array {
  const words = new Uint32Array(2 + HANDLE_BYTES_MAX / 4);
  words[0] = bytes;
  words[1] = 1;
  for (let i = 0; i < bytes / 4; i++) words[2 + i] = number + i;
  return words;
}

function read(table: NodeTable, ino: number): number | undefined {
  const out = handle(0, 0);
  return table.handle(ino, out) ? out[2] : undefined;
}

/** What the table should hold. */
interface Known {
  lookups: number;
  number: number;
  id: number;
  flags: number;
  isPinned: boolean;
}

const ino = fc.constantFrom(1, 2, 65_537, 2 ** 32 + 1, 2 ** 33 + 7, 2 ** 52 - 1);
const step = fc.oneof(
  fc.record({ kind: fc.constant("remember"), ino, value: fc.nat(1000) }),
  fc.record({ kind: fc.constant("pin"), ino, value: fc.nat(1000) }),
  fc.record({ kind: fc.constant("unpin"), ino, value: fc.constant(0) }),
  fc.record({ kind: fc.constant("forget"), ino, value: fc.nat(3) }),
  fc.record({ kind: fc.constant("hold"), ino, value: fc.integer({ min: 1, max: 50 }) }),
  fc.record({ kind: fc.constant("unhold"), ino, value: fc.constant(0) }),
  fc.record({ kind: fc.constant("reopen"), ino, value: fc.constant(0) }),
);

function change(
  table: NodeTable,
  model: Map<number, Known>,
  kind: string,
  at: number,
  value: number,
) {
  const known = model.get(at);
  if (kind === "remember" || kind === "pin") {
    const next = known ?? { lookups: 0, number: 0, id: 0, flags: 0, isPinned: false };
    next.number = value;
    if (kind === "pin") next.isPinned = true;
    else next.lookups += 1;
    model.set(at, next);
    if (kind === "pin") table.pin(at, handle(value), false);
    else table.remember(at, handle(value));
  }
  if (kind === "unpin") {
    table.unpin(at);
    if (known !== undefined) known.isPinned = false;
    if (known?.lookups === 0) model.delete(at);
  }
  if (kind === "forget") {
    const released = table.forget(at, value);
    if (known === undefined) return assert.equal(released, undefined);
    known.lookups = Math.max(0, known.lookups - value);
    const isGone = known.lookups === 0 && !known.isPinned;
    if (isGone) model.delete(at);
    const flags = known.flags;
    assert.deepEqual(released, isGone ? { id: known.id, flags } : undefined);
  }
  if (kind === "hold") {
    assert.equal(table.hold(at, value, NODE_FLAG_TMPFILE), known !== undefined);
    if (known !== undefined) Object.assign(known, { id: value, flags: NODE_FLAG_TMPFILE });
  }
  if (kind === "unhold") {
    const held = table.unhold(at);
    assert.equal(held.id, known?.id ?? 0);
    assert.equal(held.flags & NODE_FLAG_TMPFILE, known?.flags ?? 0);
    if (known !== undefined) Object.assign(known, { id: 0, flags: 0 });
  }
}

test("NodeTable holds what a Map would, also for the engine that comes after", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const { path, table: first } = newTable();
      let table = first;
      const model = new Map<number, Known>();
      for (const { kind, ino: at, value } of steps) {
        // The memory of the old one stays mapped: typed arrays over it live on.
        if (kind === "reopen") table = NodeTable.open(path, NodeTable.allocateLocks());
        else change(table, model, kind, at, value);
        for (const node of [1, 2, 65_537, 2 ** 32 + 1, 2 ** 33 + 7, 2 ** 52 - 1]) {
          assert.equal(read(table, node), model.get(node)?.number);
        }
      }
      rmSync(path);
    }),
    { numRuns: 60 },
  );
});

test("NodeTable uses the slots of forgotten nodes again", () => {
  const { table } = newTable(4096);
  // Far more nodes than slots, a few at a time.
  for (let round = 0; round < 20; round++) {
    for (let node = 1; node <= 1000; node++) table.remember(round * 7 + node * 256, handle(node));
    for (let node = 1; node <= 1000; node++) {
      assert.equal(read(table, round * 7 + node * 256), node);
      assert.ok(table.forget(round * 7 + node * 256, 1));
    }
  }
});

test("NodeTable that is full says so and goes on", () => {
  const { table } = newTable(100);
  let node = 0;
  assert.throws(() => {
    for (node = 1; node <= 200; node++) table.remember(node, handle(node));
  }, /more nodes are known/);
  assert.ok(node >= 98);
  // No lock was left behind: all of them can still be read, in every partition.
  for (let known = 1; known < node; known++) assert.equal(read(table, known), known);
  table.forget(1, 1);
  table.remember(1, handle(7));
  assert.equal(read(table, 1), 7);
});

test("NodeTable keeps the handle of the node that has the inode number now", () => {
  const { table } = newTable();
  table.remember(5, handle(1));
  table.remember(5, handle(2));
  assert.equal(read(table, 5), 2);
  assert.equal(table.forget(5, 1), undefined);
  assert.deepEqual(table.forget(5, 1), { id: 0, flags: 0 });
});

test("NodeTable keeps handles of every size whole", () => {
  const { table } = newTable();
  for (let bytes = 4; bytes <= HANDLE_BYTES_MAX; bytes += 4) {
    table.remember(bytes, handle(100, bytes));
    const out = handle(0, 0);
    assert.ok(table.handle(bytes, out));
    assert.deepEqual(
      [...out].slice(0, 2 + bytes / 4),
      [...handle(100, bytes)].slice(0, 2 + bytes / 4),
    );
  }
});

test("NodeTable lets a pin and a hold live side by side", () => {
  const { table } = newTable();
  table.remember(5, handle(1));
  table.pin(5, handle(1), false);
  assert.ok(table.hold(5, 9, NODE_FLAG_HELD_BY_FD));
  assert.equal(table.forget(5, 1), undefined, "the mirror still wants it");
  assert.equal(read(table, 5), 1);
  const held = table.unhold(5);
  assert.deepEqual([held.id, held.flags & NODE_FLAG_HELD_BY_FD], [9, NODE_FLAG_HELD_BY_FD]);
  table.unpin(5);
  assert.equal(read(table, 5), undefined);
});

test("NodeTable keeps a node that has the number of the one that is unpinned", () => {
  const { table } = newTable();
  table.remember(5, handle(1));
  table.pin(5, handle(1), false);
  // It was removed, and another made with its number, before it is unpinned.
  table.remember(5, handle(100));
  table.pin(5, handle(100), false);
  table.unpin(5, handle(1));
  assert.equal(table.forget(5, 2), undefined);
  assert.equal(read(table, 5), 100, "the copy may ask for it");
  table.unpin(5, handle(100));
  assert.equal(read(table, 5), undefined);
});

test("NodeTable takes no pipe for the regular file that had its number", () => {
  const { table } = newTable();
  table.pin(5, handle(1), true);
  assert.equal(table.isRegular(5), true);
  table.remember(5, handle(100));
  table.pin(5, handle(100), false);
  assert.equal(table.isRegular(5), false);
  assert.equal(table.forget(5, 1), undefined);
});

test("NodeTable remembers whether the connection can hold files, and refuses other files", () => {
  const { path, table } = newTable();
  assert.equal(table.canHold, false);
  table.canHold = true;
  assert.equal(NodeTable.open(path, NodeTable.allocateLocks()).canHold, true);
  writeFileSync(`${home}/other`, Buffer.alloc(8192));
  assert.throws(() => NodeTable.open(`${home}/other`, NodeTable.allocateLocks()), /no node table/);
});
