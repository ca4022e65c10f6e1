/**
 * A protected folder under load whose source side is killed at a random instant, again and again:
 * each time the copy is opened as after a power cut, and the next start must repair what the kill
 * left. What lives in the folder is a {@link PrefixSubject}.
 */
import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Prng } from "../../src/base/prng.ts";
import { openFiles } from "../../src/platform/open-files.ts";
import { identify } from "../../src/platform/processes.ts";
import { compareTrees } from "./compare-trees.ts";
import type { CutPlan } from "./cut-plan.ts";
import type { LastNumbers } from "./numbered-records.ts";
import { Patience } from "./patience.ts";
import type { PrefixSide } from "./prefix-side.ts";
import { killIfThere } from "./process-tree.ts";
import { runCommand } from "./run-command.ts";

const LOAD_MS_MIN = 300;
const LOAD_MS_MAX = 3000;
const AFTER_FLUSH_MS_MAX = 1500;
const HELD_MS_MAX = 800;
const FIRST_NOTES_MS_MAX = 60_000;
const DEATH_MS_MAX = 60_000;
const STOP_MS_MAX = 60_000;
/** A cut that met a full queue proves nothing, as status said at the time; it is made again. */
const VOID_CUTS_MAX = 3;

export interface PrefixSubject {
  /** Fills the folder before it is protected. */
  prepare(source: string): Promise<void>;
  /** Starts applications on the protected folder; settles when each writer has noted a record. */
  startLoad(source: string, cut: number): Promise<void>;
  noted(): LastNumbers;
  /** Of the applications. @throws when one has ended by itself. */
  pids(): number[];
  /** Everything of the source side is dead: takes away what dead applications left. */
  afterKill(): Promise<void>;
  /** Opens a copy and checks all that can be told from it alone. @returns what was found. */
  inspect(copy: string): Promise<LastNumbers>;
  clear(): Promise<void>;
}

/** Makes the planned cuts, each as a test of its own. */
export async function makeCuts(
  t: TestContext,
  plan: CutPlan,
  side: PrefixSide,
  subject: PrefixSubject,
): Promise<void> {
  t.diagnostic(`STANDIN_CUTS=${plan.cuts} STANDIN_SEED=${plan.seed}`);
  const stage = new PrefixStage(side, subject);
  t.after(() => stage.clear());
  await subject.prepare(side.source);
  for (let cut = 1; cut <= plan.cuts && stage.isUsable; cut++) {
    const seed = plan.seed + cut - 1;
    const timeout = plan.timeoutMs;
    await t.test(`cut ${cut}, STANDIN_SEED=${seed}`, { timeout }, (cutTest) =>
      stage.cut(cutTest, cut, new Prng(seed)),
    );
  }
  if (!stage.isUsable) return;
  await t.test("after the last cut it is protected again, equal, and stops cleanly", async () => {
    await stage.startProtected();
    await inTime(side.stop(), STOP_MS_MAX, "the stop");
  });
}

class PrefixStage {
  /** False while a cut is under way, and after one that did not come to its kill. */
  isUsable = true;
  readonly #copies = mkdtempSync(`${tmpdir()}/standin-copies-`);
  readonly #side: PrefixSide;
  readonly #subject: PrefixSubject;

  constructor(side: PrefixSide, subject: PrefixSubject) {
    chmodSync(this.#copies, 0o755); // an application that is not root must reach what it owns
    this.#side = side;
    this.#subject = subject;
  }

  async cut(t: TestContext, cut: number, prng: Prng): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      if (await this.#tryCut(t, cut, prng)) return;
      assert.ok(attempt < VOID_CUTS_MAX, "the queue is full each time: this machine is too slow");
      t.diagnostic("the queue was full: once more");
    }
  }

  /** @returns false when ops were lost, of which status tells, so that the cut proves nothing. */
  async #tryCut(t: TestContext, cut: number, prng: Prng): Promise<boolean> {
    this.isUsable = false;
    const protectedMs = await this.startProtected();
    const gapsBefore = this.#side.gaps();
    await this.#subject.startLoad(this.#side.source, cut);
    await sleep(LOAD_MS_MIN + prng.int(LOAD_MS_MAX - LOAD_MS_MIN));
    const noted = new Map(this.#subject.noted());
    const flushMs = await this.#flush();
    assert.ok(this.#side.isProtected(), "what is killed was protected");
    const afterFlushMs = prng.int(AFTER_FLUSH_MS_MAX);
    await sleep(afterFlushMs);
    const heldMs = await this.#holdApplier(prng);
    await this.#killEverything(prng);
    this.isUsable = true;
    const notedAtKill = this.#subject.noted();
    if (this.#side.gaps() > gapsBefore) return false;
    const found = await this.#inspectCopy(cut);
    t.diagnostic(
      `protected after ${protectedMs} ms, flush ${flushMs} ms, killed ${afterFlushMs} ms later, ` +
        `applier held for ${heldMs} ms: ` +
        `${figures(noted)} before the flush, ${figures(notedAtKill)} at the kill, ` +
        `${figures(found)} found`,
    );
    for (const [writer, number] of noted) {
      const last = found.get(writer) ?? 0;
      assert.ok(last >= number, `${writer}: ${number} was noted before the flush, ${last} is last`);
    }
    return true;
  }

  /** Starts on whatever the last kill left. @returns how long it took until protected. */
  async startProtected(): Promise<number> {
    const startMs = performance.now();
    await this.#side.start();
    const tookMs = Math.round(performance.now() - startMs);
    await this.#flush();
    assert.deepEqual(compareTrees(this.#side.source, this.#side.replica()), []);
    return tookMs;
  }

  async #flush(): Promise<number> {
    const startMs = performance.now();
    await this.#side.flush();
    return Math.round(performance.now() - startMs);
  }

  /** In half of the cuts the copy lags, so that much is left to apply. */
  async #holdApplier(prng: Prng): Promise<number> {
    if (prng.chance(0.5)) return 0;
    const heldMs = prng.int(HELD_MS_MAX);
    process.kill(this.#side.applier(), "SIGSTOP");
    await sleep(heldMs);
    return heldMs;
  }

  /** Ours and the applications, in any order, at once. */
  async #killEverything(prng: Prng): Promise<void> {
    const pids = [...this.#side.pids(), ...this.#subject.pids()];
    for (const pid of prng.shuffle(pids)) killIfThere(pid);
    await untilDead(pids);
    this.#killUsers();
    await detach(this.#side.source);
    await inTime(this.#side.afterKill(), DEATH_MS_MAX, "the end of what was killed");
    assert.equal(this.#side.isMounted(), false);
    await this.#subject.afterKill();
  }

  /** What applications started in the very instant of the kill. */
  #killUsers(): void {
    for (const { pid, path } of openFiles()) {
      if (path.startsWith(`${this.#side.source}/`)) killIfThere(pid);
    }
  }

  async #inspectCopy(cut: number): Promise<LastNumbers> {
    const copy = `${this.#copies}/${cut}`;
    const replica = this.#side.replica();
    await runCommand("cp", "-a", "--reflink=auto", "--sparse=always", replica, copy);
    const found = await this.#subject.inspect(copy);
    rmSync(copy, { recursive: true });
    return found;
  }

  async clear(): Promise<void> {
    await this.#subject.clear();
    await this.#side.clear();
    rmSync(this.#copies, { recursive: true, force: true });
  }
}

function figures(numbers: LastNumbers): string {
  return [...numbers.values()].join("+");
}

async function inTime<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
  const given = new AbortController();
  const late = async () => {
    const patience = new Patience(ms);
    while (!patience.isOver()) await sleep(200, undefined, { signal: given.signal });
    throw new Error(`${what} takes longer than ${ms} ms`);
  };
  try {
    return await Promise.race([work, late()]);
  } finally {
    given.abort();
  }
}

async function untilDead(pids: readonly number[]): Promise<void> {
  const patience = new Patience(DEATH_MS_MAX);
  const living = () => pids.filter((pid) => identify(pid) !== undefined);
  while (living().length > 0) {
    assert.ok(!patience.isOver(), `still there after SIGKILL: ${living().join(", ")}`);
    await sleep(10);
  }
}

/** Takes a mount away from newcomers, in bounded time; it may be gone already. */
export async function detach(mountPoint: string): Promise<void> {
  await runCommand("timeout", "20", "umount", "-l", mountPoint).catch(() => {});
}

/** Until the load has begun in earnest. @throws when an application ended instead. */
export async function untilAllNoted(subject: PrefixSubject): Promise<void> {
  const patience = new Patience(FIRST_NOTES_MS_MAX);
  while ([...subject.noted().values()].some((number) => number === 0)) {
    subject.pids();
    assert.ok(!patience.isOver(), "the applications do not get to work");
    await sleep(20);
  }
}
