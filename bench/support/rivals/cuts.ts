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
export type Verdict =
  | null
  | "does not start"
  | "sums differ"
  | "tables broken"
  | "pages broken"
  | "undecided";

export interface Cut {
  readonly verdict: Verdict;
  readonly message?: string;
  /** What the contender said of the copy before or after the cut; null: nothing. */
  readonly warning: string | null;
  /** Time from the newest transaction of the copy to the cut; null: it tells none. */
  readonly behindSeconds: number | null;
  /** How long the target's side stood still for the copy of the copy. */
  readonly frozenSeconds: number;
}

type Judgement = Omit<Cut, "warning" | "frozenSeconds">;

export interface CutPlan {
  readonly stage: Stage;
  readonly copy: string;
  /** See `Running.warning`. */
  readonly warning: () => Promise<string | null>;
  /** For the copies of the copy and the servers' sockets. */
  readonly home: string;
  readonly programs: string;
  readonly count: number;
  readonly seed: number;
  /** Longest pause between two cuts. */
  readonly pauseMaxMs: number;
  /** What must go on all the while. */
  readonly load: ChildProcess;
  /** Where the first copy that is not clean is kept, to be looked at. */
  readonly keep: string | undefined;
}

/** What runCommand says at a time limit, as when this benchmark was stopped meanwhile. */
const TIME_LIMIT = /: not done after \d+ s/;
const UNDECIDED_MAX = 20;

export async function makeCuts(plan: CutPlan): Promise<Cut[]> {
  const prng = new Prng(plan.seed);
  const cuts: Cut[] = [];
  for (let undecided = 0; cuts.length < plan.count; ) {
    await systemClock.sleep(prng.int(plan.pauseMaxMs));
    if (plan.load.exitCode !== null || plan.load.signalCode !== null) {
      throw new Error("the load has ended");
    }
    const cut = await makeCut(
      plan,
      cuts.every(({ verdict }) => verdict === null),
    );
    const { verdict, message = "", behindSeconds, warning } = cut;
    const said = `${verdict ?? "clean"}, ${behindSeconds?.toFixed(2)} s behind`;
    const told = warning === null ? "" : ` (it said: ${warning})`;
    console.error(`  cut ${cuts.length + 1}: ${said}${told} ${message.trim().slice(-200)}`);
    if (verdict !== "undecided") cuts.push(cut);
    else if (++undecided > UNDECIDED_MAX) throw new Error("too many cuts without a verdict");
  }
  return cuts;
}

async function makeCut(plan: CutPlan, isCleanSoFar: boolean): Promise<Cut> {
  const { stage, copy, home, programs, keep } = plan;
  const folder = `${home}/cut`;
  mkdirSync(folder);
  chmodSync(folder, 0o755); // the database's user goes through it
  try {
    let warning = await plan.warning();
    await stage.target.freeze();
    const cutMs = Date.now();
    const frozenMs = performance.now();
    try {
      const data = [`${copy}/data`, `${folder}/data`];
      await runCommand("cp", ["-a", "--reflink=auto", ...data], { limitMs: COPY_MS });
    } finally {
      stage.target.thaw();
    }
    const frozenSeconds = (performance.now() - frozenMs) / 1000;
    warning ??= await plan.warning();
    await tidy(`${folder}/data`);
    const runFolder = `${home}/run`;
    mkdirSync(runFolder);
    await runCommand("chown", ["postgres:", runFolder]);
    if (keep !== undefined && isCleanSoFar) {
      await runCommand("cp", ["-a", `${folder}/data`, `${folder}/as-found`], { limitMs: COPY_MS });
    }
    // Nothing of it has to last.
    const options = { programs, folder, runFolder, settings: ["fsync=off"] };
    const cut = { ...(await judge(options, cutMs)), warning, frozenSeconds };
    if (keep !== undefined && isCleanSoFar && cut.verdict !== null) await keepCopy(plan, folder);
    return cut;
  } finally {
    await runCommand("rm", ["-rf", folder, `${home}/run`], { limitMs: COPY_MS });
  }
}

async function keepCopy({ keep, home }: CutPlan, folder: string): Promise<void> {
  const place = `${keep}/${home.split("/").at(-2)}-${Date.now()}`;
  mkdirSync(place, { recursive: true });
  await runCommand("cp", ["-a", `${folder}/as-found`, `${home}/run/log`, place], {
    limitMs: COPY_MS,
  });
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

async function judge(options: PostgresOptions, cutMs: number): Promise<Judgement> {
  const server = Postgres.open(options);
  let behindSeconds: number | null = null;
  let step: Verdict = "does not start";
  try {
    await server.start();
    step = "sums differ";
    const newest = await server.query(
      "SELECT extract(epoch FROM max(mtime)::timestamptz) FROM pgbench_history",
    );
    if (newest !== "") behindSeconds = cutMs / 1000 - Number(newest);
    await checkSums(server);
    step = "tables broken";
    await server.checkTables();
    await server.stop("fast");
    step = "pages broken";
    await server.checkPages();
    return { verdict: null, behindSeconds };
  } catch (error) {
    const log = await runCommand("tail", ["-n", "3", `${options.runFolder}/log`], {
      accept: [0, 1],
    });
    const message = `${(error as Error).message.slice(-400)} ${log.stdout.slice(-300)}`;
    return { verdict: TIME_LIMIT.test(message) ? "undecided" : step, message, behindSeconds };
  } finally {
    // A server that did not start has nothing to stop.
    await server.stop("immediate").catch(() => {});
  }
}

/** What TPC-B keeps: every transaction books the same amount in four tables. @throws the sums */
export async function checkSums(server: Postgres): Promise<void> {
  const sums = await server.query(SUMS);
  if (new Set(sums.split("|")).size !== 1) throw new Error(`the sums differ: ${sums}`);
}

const SUMS = `
  SELECT (SELECT sum(abalance) FROM pgbench_accounts),
    (SELECT sum(tbalance) FROM pgbench_tellers),
    (SELECT sum(bbalance) FROM pgbench_branches),
    (SELECT coalesce(sum(delta), 0) FROM pgbench_history)`;
