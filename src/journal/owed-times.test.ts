import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { after, test } from "node:test";
import { OwedTimes } from "./owed-times.ts";
import { Ring } from "./ring.ts";
import { HeaderAt, OWED_TIMES } from "./ring-layout.ts";

const home = mkdtempSync("/dev/shm/standin-owed-");
after(() => rmSync(home, { recursive: true, force: true }));

let count = 0;
function newRing(): Ring {
  count += 1;
  const sizes = { arenas: 1, indexSlots: 256, arenaBytes: 4 << 20 };
  return Ring.create(`${home}/ring-${count}`, sizes);
}

test("OwedTimes keeps each file once, of each mount, until it is cleared", () => {
  const owed = new OwedTimes(newRing());
  assert.equal(owed.isEmpty, true);
  for (const mount of [0, 1, 0]) assert.equal(owed.owe(mount, 77), true);
  const files = owed.files().sort((a, b) => a.mount - b.mount);
  assert.deepEqual(files, [
    { mount: 0, ino: 77 },
    { mount: 1, ino: 77 },
  ]);
  owed.clear(0, 77);
  assert.equal(owed.isOwed(0, 77), false);
  assert.equal(owed.isOwed(1, 77), true);
  assert.equal(owed.isEmpty, false);
  owed.clear(1, 77);
  owed.clear(1, 77);
  assert.equal(owed.isEmpty, true);
});

test("OwedTimes knows inode numbers beyond 32 bits", () => {
  const owed = new OwedTimes(newRing());
  const large = 2 ** 40 + 5;
  assert.equal(owed.owe(0, large), true);
  assert.equal(owed.isOwed(0, 5), false);
  assert.deepEqual(owed.files(), [{ mount: 0, ino: large }]);
});

test("OwedTimes says when there is no room, and has room again for what is cleared", () => {
  const owed = new OwedTimes(newRing());
  const taken: number[] = [];
  let ino = 1;
  for (; owed.owe(0, ino); ino++) taken.push(ino);
  assert.ok(taken.length <= OWED_TIMES);
  assert.equal(owed.isOwed(0, ino), false);
  assert.equal(owed.files().length, taken.length);
  for (const one of taken) assert.equal(owed.owe(0, one), true);
  for (const one of taken) owed.clear(0, one);
  assert.equal(owed.isEmpty, true);
  assert.equal(owed.owe(0, ino), true);
});

test("what an engine owed when it was killed is owed by the next, its claims are not", () => {
  const ring = newRing();
  new OwedTimes(ring).owe(0, 9);
  const states = new Int32Array(ring.memory.buffer, HeaderAt.owedTimes, OWED_TIMES * 4);
  const unused = states.findIndex((state, at) => at % 4 === 0 && state === 0);
  states[unused] = 1;
  const next = new OwedTimes(ring);
  next.takeOver();
  assert.deepEqual(next.files(), [{ mount: 0, ino: 9 }]);
  next.clear(0, 9);
  assert.equal(next.isEmpty, true);
});
