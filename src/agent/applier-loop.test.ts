import assert from "node:assert/strict";
import { test } from "node:test";

import { ApplierBench } from "../../test/support/applier-bench.ts";
import type { Clock } from "../platform/clock.ts";
import { ApplierLoop } from "./applier-loop.ts";
import { ApplierReporter } from "./applier-reporter.ts";

/** Time stands still but for the test, and who sleeps is not woken by it. */
class StillClock implements Clock {
  nowMs = 1000;
  #asleep = Promise.withResolvers<number>();

  monotonicMs(): number {
    return this.nowMs;
  }
  wallMs(): number {
    return 1000;
  }
  sleep(durationMs: number): Promise<void> {
    this.#asleep.resolve(durationMs);
    return new Promise(() => {});
  }

  /** How long the next one who sleeps would. */
  async nextSleep(): Promise<number> {
    const durationMs = await this.#asleep.promise;
    this.#asleep = Promise.withResolvers();
    return durationMs;
  }
}

class LoopBench {
  readonly bench = new ApplierBench();
  readonly source = this.bench.source;
  readonly events: Record<string, unknown>[] = [];
  readonly clock = new StillClock();
  readonly loop: ApplierLoop;
  readonly #ended: Promise<void>;

  constructor() {
    const { runtime } = this.bench;
    this.source.create("file");
    this.bench.settle();
    const emit = (event: Record<string, unknown>): void => void this.events.push(event);
    this.loop = new ApplierLoop(runtime, new ApplierReporter(runtime, emit), this.clock, emit);
    this.write(100);
    this.#ended = this.loop.run();
  }

  write(bytes: number): void {
    this.source.write("file", 0, Buffer.alloc(bytes, 1));
  }
  nextNap(): Promise<number> {
    return this.clock.nextSleep();
  }
  async stop(): Promise<void> {
    this.loop.command({ command: "stop" });
    await this.#ended;
  }
}

/** One that is not woken sleeps for ever. */
const BOUNDED = { timeout: 60_000 };
const NOTHING = { command: "resume" };

test("ApplierLoop naps behind a batch, shorter while writers fill the ring", BOUNDED, async () => {
  const its = new LoopBench();
  assert.equal(await its.nextNap(), 32);
  for (let count = 0; count < 4; count++) its.write(1 << 19);
  its.loop.command(NOTHING);
  assert.equal(await its.nextNap(), 4);
  its.write(100);
  its.loop.command(NOTHING);
  assert.equal(await its.nextNap(), 4, "for a moment");
  its.clock.nowMs += 1000;
  its.write(100);
  its.loop.command(NOTHING);
  assert.equal(await its.nextNap(), 32);
  await its.stop();
});

test("ApplierLoop naps shorter while a flush waits for ops", BOUNDED, async () => {
  const its = new LoopBench();
  assert.equal(await its.nextNap(), 32);
  its.write(100);
  its.loop.command({ command: "flush", id: 7, lsn: its.bench.ring.head + 1 });
  assert.equal(await its.nextNap(), 4);
  assert.ok(!its.events.some(({ flushed }) => flushed === 7));
  its.clock.nowMs += 1000;
  its.write(100);
  its.loop.command(NOTHING);
  assert.equal(await its.nextNap(), 32);
  assert.ok(its.events.some(({ flushed }) => flushed === 7));
  await its.stop();
});

test("ApplierLoop is woken by a command", BOUNDED, async () => {
  const its = new LoopBench();
  await its.nextNap();
  its.write(100);
  await its.stop();
  assert.equal(its.bench.ring.applied, its.bench.ring.head);
});
