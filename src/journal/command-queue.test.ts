import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { after, test } from "node:test";
import fc from "fast-check";
import { type Command, CommandKind, CommandQueue } from "./command-queue.ts";
import { Ring } from "./ring.ts";
import { COMMAND_SLOTS } from "./ring-layout.ts";

const home = mkdtempSync("/dev/shm/standin-queue-");
after(() => rmSync(home, { recursive: true, force: true }));
const ring = Ring.create(`${home}/ring`, { arenas: 1, indexSlots: 64, arenaBytes: 4096 });

function command(number: number): Command {
  return { number, kind: CommandKind.node, mount: 2, node: 3, offset: 4, length: 5 };
}

test("CommandQueue hands over what was pushed, in order, until it is full", () => {
  const queue = new CommandQueue(ring);
  const other = new CommandQueue(ring);
  for (let number = 1; number <= COMMAND_SLOTS; number++) {
    assert.equal(queue.push(command(number)), true);
  }
  assert.equal(queue.push(command(0)), false);
  assert.equal(other.length, COMMAND_SLOTS);
  for (let number = 1; number <= COMMAND_SLOTS; number++) {
    assert.deepEqual(other.peek(), command(number));
    assert.deepEqual(other.peek(), command(number), "until it is popped");
    other.pop();
  }
  assert.equal(other.peek(), undefined);
});

test("CommandQueue is empty after a clear and goes on", () => {
  const queue = new CommandQueue(ring);
  for (let number = 1; number < 10; number++) queue.push(command(number));
  queue.clear();
  assert.equal(queue.peek(), undefined);
  queue.push(command(11));
  assert.equal(queue.peek()?.number, 11);
  queue.pop();
});

test("CommandQueue stays empty when it is cleared while its consumer works on a command", () => {
  const producer = new CommandQueue(ring);
  const consumer = new CommandQueue(ring);
  for (let number = 1; number < 4; number++) producer.push(command(number));
  assert.equal(consumer.peek()?.number, 1);
  producer.clear();
  consumer.pop();
  assert.equal(consumer.length, 0);
  assert.equal(consumer.peek(), undefined);
  producer.push(command(4));
  assert.equal(consumer.peek()?.number, 4);
  consumer.pop();
  assert.equal(consumer.length, 0);
});

test("CommandQueue counts on where its 32-bit counters turn over", () => {
  const at = ring.layout.commandsAt / 4;
  for (const start of [0x7fffffff - 5, -5]) {
    ring.i32[at] = start;
    ring.i32[at + 16] = start;
    const queue = new CommandQueue(ring);
    for (let number = 1; number <= 20; number++) {
      assert.equal(queue.push(command(number)), true);
      if (number % 3 === 0) {
        assert.equal(queue.length, 3);
        for (let i = 2; i >= 0; i--) {
          assert.equal(queue.peek()?.number, number - i);
          queue.pop();
        }
      }
    }
    queue.clear();
  }
});

test("CommandQueue wakes a consumer and lets it give up after its time", () => {
  const queue = new CommandQueue(ring);
  const startMs = performance.now();
  queue.waitForCommand(40);
  assert.ok(performance.now() - startMs >= 30);
  queue.push(command(1));
  queue.wake();
  const secondMs = performance.now();
  queue.waitForCommand(5000);
  assert.ok(performance.now() - secondMs < 1000);
  assert.equal(queue.peek()?.number, 1);
  queue.pop();
});

test("CommandQueue carries numbers of all sizes", () => {
  const queue = new CommandQueue(ring);
  const size = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });
  const fields = {
    number: size,
    kind: fc.constantFrom(...Object.values(CommandKind)),
    mount: fc.integer({ min: 0, max: 0xffffffff }),
    node: size,
    offset: size,
    length: size,
  };
  fc.assert(
    fc.property(fc.record(fields, { noNullPrototype: true }), (given) => {
      queue.push(given);
      assert.deepEqual(queue.peek(), given);
      queue.pop();
    }),
  );
});
