/** The applier as a process of its own, killed at random while it works. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { compareTrees } from "../../test/support/compare-trees.ts";
import { assertEachOnce, readOpAccount } from "../../test/support/op-account.ts";
import { FakeSource } from "../../test/support/fake-source.ts";
import { RandomOperations } from "../../test/support/random-operations.ts";
import { Prng } from "../base/prng.ts";
import { Ring } from "../journal/ring.ts";
import { umask } from "../platform/libc.ts";

umask(0);
const SEED = Number(process.env.STANDIN_SEED ?? 1);
const SECONDS = Number(process.env.STANDIN_KILL_SECONDS ?? 6);
const PROCESS = fileURLToPath(new URL("./applier-process.ts", import.meta.url));
const made: string[] = [];
const children = new Set<ChildProcess>();
after(() => {
  for (const child of children) child.kill("SIGKILL");
  for (const path of made) rmSync(path, { recursive: true, force: true });
});

class AppliedSource {
  readonly home = mkdtempSync(`${tmpdir()}/standin-kill-`);
  readonly shm = mkdtempSync("/dev/shm/standin-kill-");
  readonly source: FakeSource;
  readonly events: Record<string, unknown>[] = [];
  readonly notices: Record<string, unknown>[] = [];
  readonly errors: string[] = [];
  child: ChildProcess | undefined;
  kills = 0;

  constructor(prepare: (source: string) => void = () => {}) {
    made.push(this.home, this.shm);
    mkdirSync(`${this.home}/source`);
    mkdirSync(`${this.home}/replica`);
    prepare(`${this.home}/source`);
    const ring = Ring.create(`${this.shm}/ring`, {
      arenas: 2,
      indexSlots: 1 << 14,
      arenaBytes: 16 << 20,
    });
    this.source = new FakeSource(`${this.home}/source`, ring);
    const config = {
      shmDir: this.shm,
      mounts: [{ index: 0, rootIno: this.source.rootIno, replica: `${this.home}/replica` }],
      orphans: "delete",
    };
    writeFileSync(`${this.home}/config.json`, JSON.stringify(config));
  }

  start(): void {
    const child = spawn(process.execPath, [PROCESS, `${this.home}/config.json`], {
      stdio: ["pipe", "pipe", "pipe"],
    });
    let rest = "";
    child.stdout.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#hear(JSON.parse(line));
    });
    child.stderr.on("data", (chunk: Buffer) => this.errors.push(chunk.toString()));
    this.child = child;
    children.add(child);
    child.once("exit", () => children.delete(child));
  }

  #hear(event: Record<string, unknown>): void {
    this.events.push(event);
    if (event.event === "notice") this.notices.push(event);
  }

  async kill(): Promise<void> {
    const { child } = this;
    if (child === undefined) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
    this.kills += 1;
  }

  send(command: object): void {
    this.child?.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  async until(what: string, done: () => boolean): Promise<void> {
    const end = performance.now() + 30_000;
    while (!done()) {
      if (performance.now() > end) assert.fail(`${what} does not come: ${this.#tail()}`);
      this.source.serve();
      await delay(2);
    }
  }

  #tail(): string {
    const last = JSON.stringify(this.events.slice(-1));
    return `${last}\n${JSON.stringify(this.notices.slice(-20))}\n${this.errors.join("")}`;
  }

  event(name: string): Record<string, unknown> | undefined {
    return this.events.findLast(({ event }) => event === name);
  }

  async settled(): Promise<void> {
    const from = this.events.length;
    await this.until("rest", () =>
      this.events
        .slice(from)
        .some((e) => e.event === "status" && e.protected === true && e.lagOps === 0),
    );
    this.events.length = 0;
    this.send({ command: "flush", id: 7, lsn: this.source.ring.head });
    await this.until("the flush", () => this.events.some((e) => e.flushed === 7));
  }

  async stop(): Promise<number | null> {
    const { child } = this;
    if (child === undefined) return null;
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    this.send({ command: "stop" });
    return ended;
  }

  differences(): string[] {
    return compareTrees(`${this.home}/source`, `${this.home}/replica`);
  }
}

test("the applier mirrors, answers commands, and ends when told to", async () => {
  const bench = new AppliedSource((source) => {
    mkdirSync(`${source}/d`);
    writeFileSync(`${source}/d/f`, "contents");
  });
  bench.start();
  await bench.until("the mirror", () => bench.event("mirrored") !== undefined);
  bench.source.create("d/g");
  await bench.settled();
  assert.deepEqual(bench.differences(), []);
  bench.send({ command: "verify", repair: false, id: 3 });
  await bench.until("the verify", () => bench.event("verified") !== undefined);
  assert.equal(bench.event("verified")?.different, 0);
  assert.equal(bench.event("verified")?.id, 3);
  assert.equal(await bench.stop(), 0);
});

test(`the applier loses and repeats nothing when killed at random (seed ${SEED})`, async () => {
  const bench = new AppliedSource((source) => {
    mkdirSync(`${source}/d/e`, { recursive: true });
    writeFileSync(`${source}/d/e/f`, Buffer.alloc(3_000_000, 1));
  });
  const prng = new Prng(SEED);
  const operations = new RandomOperations(bench.source, prng);
  // Before changes are recorded: for the mirror.
  bench.source.isRecording = false;
  for (let i = 0; i < 200; i++) operations.step();
  bench.source.isRecording = true;
  bench.start();
  await bench.settled();
  const end = performance.now() + SECONDS * 1000;
  let killAt = 0;
  while (performance.now() < end) {
    for (let i = 0; i < 20; i++) operations.step();
    bench.source.serve(3);
    if (performance.now() >= killAt) {
      await bench.kill();
      // A start takes a quarter of a second; then let it work for a moment.
      for (let i = 0; i < 30; i++) operations.step();
      bench.start();
      killAt = performance.now() + 150 + (prng.uint32() % 400);
    }
    await delay(0);
  }
  await bench.settled();
  const shown = `${bench.kills} kills, ${bench.source.ring.head} ops, seed ${SEED}`;
  assert.deepEqual(bench.differences(), [], shown);
  const status = bench.events.findLast((e) => e.event === "status");
  assert.equal(status?.diverged ?? 0, 0, `nothing was found different: ${shown}`);
  assertEachOnce(readOpAccount(bench.shm), bench.kills);
  bench.send({ command: "verify", repair: false, id: 9 });
  await bench.until("the verify", () => bench.event("verified") !== undefined);
  assert.deepEqual(bench.event("verified")?.differences, [], shown);
  assert.equal(await bench.stop(), 0);
});
