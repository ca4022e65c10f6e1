/**
 * Copies of a live database at random instants, opened: each is what a failover at that instant
 * would find.
 */
import type { ChildProcess } from "node:child_process";
import { chmodSync, mkdirSync } from "node:fs";

import { Prng } from "../../../src/base/prng.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { Postgres, type PostgresOptions } from "../postgres.ts";
import { runCommand } from "../run-command.ts";
import type { Stage } from "./stage.ts";

const COPY_MS = 300_000;

/** What is wrong with a copy; null: nothing. */
export type Verdict = null | "does not start" | "sums differ" | "tables broken" | "pages broken";

export interface Cut {
  readonly verdict: Verdict;
  readonly message?: string;
  /** Time from the newest transaction of the copy to the cut; null: it tells none. */
  readonly behindSeconds: number | null;
}

export interface CutPlan {
  readonly stage: Stage;
  readonly copy: string;
  /** For the copies of the copy and the servers' sockets. */
  readonly home: string;
  readonly programs: string;
  readonly count: number;
  readonly seed: number;
  /** Longest pause between two cuts. */
  readonly pauseMaxMs: number;
  /** What must go on all the while. */
  readonly load: ChildProcess;
}

export async function makeCuts(plan: CutPlan): Promise<Cut[]> {
  const prng = new Prng(plan.seed);
  const cuts: Cut[] = [];
  for (let i = 0; i < plan.count; i++) {
    await systemClock.sleep(prng.int(plan.pauseMaxMs));
    if (plan.load.exitCode !== null || plan.load.signalCode !== null) {
      throw new Error("the load has ended");
    }
    cuts.push(await makeCut(plan));
    const { verdict, message = "" } = cuts.at(-1) as Cut;
    if (verdict !== null) console.error(`  cut ${i + 1}: ${verdict} ${message.slice(0, 160)}`);
  }
  return cuts;
}

async function makeCut({ stage, copy, home, programs }: CutPlan): Promise<Cut> {
  const folder = `${home}/cut`;
  mkdirSync(folder);
  chmodSync(folder, 0o755); // the database's user goes through it
  try {
    await stage.target.freeze();
    const cutMs = Date.now();
    try {
      const data = [`${copy}/data`, `${folder}/data`];
      await runCommand("cp", ["-a", "--reflink=auto", ...data], { limitMs: COPY_MS });
    } finally {
      stage.target.thaw();
    }
    await tidy(`${folder}/data`);
    const runFolder = `${home}/run`;
    mkdirSync(runFolder);
    await runCommand("chown", ["postgres:", runFolder]);
    // Nothing of it has to last.
    return await judge({ programs, folder, runFolder, settings: ["fsync=off"] }, cutMs);
  } finally {
    await runCommand("rm", ["-rf", folder, `${home}/run`], { limitMs: COPY_MS });
  }
}

/**
 * What an administrator would do on the other server: the files under way are no part of the
 * database (it has none that begin with a dot), the server that the pid file names is not there,
 * and owners are set for the contenders that do not keep them.
 */
async function tidy(data: string): Promise<void> {
  await runCommand("find", [data, "-mindepth", "1", "-name", ".*", "-delete"]);
  await runCommand("rm", ["-f", `${data}/postmaster.pid`]);
  await runCommand("chown", ["-R", "postgres:", data]);
}

async function judge(options: PostgresOptions, cutMs: number): Promise<Cut> {
  const server = Postgres.open(options);
  let behindSeconds: number | null = null;
  let step: Verdict = "does not start";
  try {
    await server.start();
    step = "tables broken";
    const newest = await server.query(
      "SELECT extract(epoch FROM max(mtime)::timestamptz) FROM pgbench_history",
    );
    if (newest !== "") behindSeconds = cutMs / 1000 - Number(newest);
    const sums = await server.query(SUMS);
    if (new Set(sums.split("|")).size !== 1) {
      return { verdict: "sums differ", message: sums, behindSeconds };
    }
    await server.checkTables();
    await server.stop("fast");
    step = "pages broken";
    await server.checkPages();
    return { verdict: null, behindSeconds };
  } catch (error) {
    const log = await runCommand("tail", ["-n", "3", `${options.runFolder}/log`], {
      accept: [0, 1],
    });
    const message = `${(error as Error).message.slice(-300)} ${log.stdout}`;
    return { verdict: step, message, behindSeconds };
  } finally {
    // A server that did not start has nothing to stop.
    await server.stop("immediate").catch(() => {});
  }
}

/** What TPC-B keeps: every transaction books the same amount in four tables. */
const SUMS = `
  SELECT (SELECT sum(abalance) FROM pgbench_accounts),
    (SELECT sum(tbalance) FROM pgbench_tellers),
    (SELECT sum(bbalance) FROM pgbench_branches),
    (SELECT coalesce(sum(delta), 0) FROM pgbench_history)`;
