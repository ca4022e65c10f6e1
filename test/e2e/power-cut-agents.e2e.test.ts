/**
 * Power cuts of a target's agent under load. Its state folder and its replica are on a disk whose
 * writes are recorded; at a random instant the disk stands still, agent and applier are killed, and
 * of the blocks behind the last flush each is kept or lost. From what remains the agent starts
 * again, first with a source that says nothing: the replica must be what the source was at one
 * moment, with all that the source had counted as durable. Then the source goes on.
 *
 * Power is lost in the middle of work, while the agent stops and writes its checkpoint, and while
 * it recovers from the cut before.
 *
 * STANDIN_CUTS: how many (200 for the acceptance), STANDIN_SEED.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Prng } from "../../src/base/prng.ts";
import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { warnings } from "../support/disturbed-job.ts";
import { LoadProcess } from "../support/load-process.ts";
import { NumberedReference, numberIn } from "../support/numbered-steps.ts";
import { readOpAccount } from "../support/op-account.ts";
import { PowerCutServers } from "../support/power-cut-servers.ts";

const skip = skipUnless("root", "fuse", "fuse-resend", "loop-devices", "command:mkfs.ext4");
const SEED = Number(process.env.STANDIN_SEED ?? 1);
const CUTS = Number(process.env.STANDIN_CUTS ?? 4);
const WRITER = `${import.meta.dirname}/../support/step-writer.ts`;

const KINDS = ["working", "stopping", "working", "recovering"] as const;
const LOAD_MS_MIN = 200;
const LOAD_MS_MAX = 2500;
const STOP_MS_MAX = 400;
const RECOVERY_MS_MAX = 1200;

/** The step was recorded with this LSN, or with one before. */
interface Mark {
  readonly number: number;
  readonly lsn: number;
}

class CutRun {
  readonly #servers: PowerCutServers;
  readonly #prng = new Prng(SEED);
  readonly #reference: NumberedReference;
  readonly #marks: Mark[] = [];
  readonly sums = { lost: 0, kept: 0, replayed: 0, ahead: 0 };
  /** LSNs of the checkpoints that were gone on from. */
  readonly checkpoints = new Set<number>();

  constructor(servers: PowerCutServers, reference: NumberedReference) {
    this.#servers = servers;
    this.#reference = reference;
  }

  get #live(): string {
    return `${this.#servers.servers.folder}/steps`;
  }

  /** Lets the writer write, and keeps looking how far it is. */
  async load(ms: number): Promise<void> {
    const end = performance.now() + ms;
    do {
      const number = numberIn(this.#live);
      const { lsn } = await this.#servers.sourceStatus();
      this.#marks.push({ number, lsn });
      await sleep(5);
    } while (performance.now() < end);
  }

  async cut(kind: (typeof KINDS)[number], made: number): Promise<number> {
    const { target } = this.#servers.servers;
    await this.load(LOAD_MS_MIN + this.#prng.int(LOAD_MS_MAX - LOAD_MS_MIN));
    const stopping = kind === "stopping" ? target.stop() : undefined;
    if (stopping !== undefined) await sleep(this.#prng.int(STOP_MS_MAX));
    await this.#cut();
    await stopping;
    const durable = await this.#servers.durableAtSource();
    this.#servers.holdSource();
    let cuts = made + 1;
    if (kind === "recovering" && cuts < CUTS) {
      target.spawn();
      await sleep(this.#prng.int(RECOVERY_MS_MAX));
      await this.#cut();
      cuts += 1;
    }
    await target.start();
    await this.#check(durable, `cut ${cuts} while ${kind}, seed ${SEED}`);
    this.#servers.releaseSource();
    await this.#servers.untilResumed();
    return cuts;
  }

  async #cut(): Promise<void> {
    const { lost, kept } = await this.#servers.cut(this.#prng, this.#prng.chance(0.5));
    this.sums.lost += lost;
    this.sums.kept += kept;
  }

  /** All that is on the target's disk is applied, and the source has said nothing yet. */
  async #check(durable: number, shown: string): Promise<void> {
    const { servers } = this.#servers;
    const { durableLsn, due, folders } = await this.#servers.untilReplayed();
    assert.ok(durableLsn >= durable, `${durable} was durable, ${durableLsn} is left: ${shown}`);
    assert.equal(due, "none", `nothing is to be compared: ${shown}`);
    const [folder] = folders;
    const number = this.#reference.assertMoment(`${folder?.replica}/steps`, shown);
    const least = this.#marks.findLast(({ lsn }) => lsn <= durable)?.number ?? 0;
    assert.ok(number >= least, `step ${least} was durable, ${number} is the last: ${shown}`);
    const replay = servers.target.log.find(({ message }) => /from a checkpoint/.test(`${message}`));
    assert.ok(replay, `it goes on from a checkpoint: ${shown}`);
    this.sums.replayed += Number(replay.ops);
    this.sums.ahead += number - least;
    this.checkpoints.add(durableLsn - Number(replay.ops));
  }
}

/** Nothing had to be mended, and all of it is there. */
function checkEnd(t: TestContext, run: CutRun, { servers }: PowerCutServers): void {
  const { passes, gaps, diverged } = readOpAccount(servers.shmOf("replicas"));
  const firstPasses = servers.firstPasses();
  assert.deepEqual({ passes, gaps, diverged }, { passes: firstPasses, gaps: 0, diverged: 0 });
  assert.deepEqual(warnings(servers.target), [], "no file was found different");
  assert.deepEqual(compareTrees(servers.folder, servers.replica()), [], "the replica is equal");
  const steps = numberIn(`${servers.folder}/steps`);
  const { lsn } = servers.status();
  t.diagnostic(`${CUTS} cuts, seed ${SEED}: ${steps} steps, ${lsn} ops, blocks and ops:`);
  const from = run.checkpoints.size;
  t.diagnostic(`${JSON.stringify(run.sums)}, from ${from} checkpoints`);
}

test(`the power of a target's agent is cut ${CUTS} times (seed ${SEED})`, {
  skip,
  timeout: 120_000 + CUTS * 30_000,
}, async (t) => {
  const servers = await PowerCutServers.start(t);
  const { source, target } = servers.servers;
  const steps = `${servers.servers.folder}/steps`;
  const writer = new LoadProcess(process.execPath, [WRITER, steps, String(SEED)], {
    logFile: `${servers.folder}/writer.log`,
  });
  t.after(() => writer.kill());
  const reference = new NumberedReference(`${servers.folder}/reference`, SEED);
  t.after(() => reference.close());
  const run = new CutRun(servers, reference);
  await sleep(500);
  // An orderly end makes a checkpoint; else the first one comes after a minute.
  await target.stop();
  await target.start();
  await servers.untilResumed();
  try {
    for (let cuts = 0; cuts < CUTS; ) {
      cuts = await run.cut(KINDS[cuts % KINDS.length] ?? "working", cuts);
      writer.pid();
    }
    const ended = once(writer.child, "exit");
    writer.kill();
    await ended;
    servers.servers.flush();
    checkEnd(t, run, servers);
  } catch (error) {
    t.diagnostic(servers.described());
    throw error;
  }
  assert.equal(await source.stop(), 0);
});

/** A replica that is not complete is no moment of the source; it must not be called complete. */
test("the power is cut twice during the first copy, which becomes complete", {
  skip,
  timeout: 180_000,
}, async (t) => {
  const prng = new Prng(SEED);
  const servers = await PowerCutServers.start(t, (folder) => {
    for (let i = 0; i < 1500; i++) writeFileSync(`${folder}/${i}`, prng.bytes(20_000));
  });
  const { target, folder } = servers.servers;
  const isEqual = () => compareTrees(folder, servers.servers.replica()).length === 0;
  for (let cut = 0; cut < 2; cut++) {
    await sleep(prng.int(400));
    const { lost, kept } = await servers.cut(prng, prng.chance(0.5));
    const durable = await servers.durableAtSource();
    servers.holdSource();
    await target.start();
    const { durableLsn, due } = await servers.replicaStatus();
    t.diagnostic(
      `due: ${due}, durable: ${durable} of ${durableLsn}, ${lost} blocks of ${lost + kept} lost`,
    );
    assert.ok(durableLsn >= durable, `${durable} was durable, ${durableLsn} is left`);
    assert.ok(due !== "none" || isEqual(), "what is called complete is complete");
    servers.releaseSource();
  }
  await servers.servers.untilProtected();
  servers.servers.flush();
  assert.deepEqual(compareTrees(folder, servers.servers.replica()), []);
});
