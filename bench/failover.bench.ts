/**
 * How long are the applications without a server? A server in use is lost, with all its processes
 * and its network; the other one promotes its replica by itself, and starts the applications.
 *
 *   node bench/failover.bench.ts --help
 */
import { join } from "node:path";

import { systemClock } from "../src/platform/clock.ts";
import { DemoStage } from "../src/cli/demo/demo-stage.ts";
import type { DemoServer } from "../src/cli/demo/demo-server.ts";
import { Arguments } from "./support/arguments.ts";
import { type Cleanup, withCleanup } from "./support/cleanup.ts";
import { describeMachine } from "./support/describe-machine.ts";
import { printResult } from "./support/print-result.ts";
import { medianOfRounds, rounded } from "./support/statistics.ts";

const MAIN = join(import.meta.dirname, "../src/main.ts");
const ROWS_BEFORE = 1000;
const MAILS_BEFORE = 300;
const LIMIT_MS = 120_000;

const given = Arguments.parse("Measures the time from the loss of a server to its successor.", {
  runs: { help: "how often a server is lost", default: "20" },
  detection: { help: "seconds of silence after which it is taken for lost", default: "5" },
  seconds: { help: "seconds of load before it is lost", default: "3" },
  aim: { help: "seconds to the first commit that count as reached", default: "8" },
});

/** Seconds, all from the kill. */
interface Failover {
  /** The target takes its source for lost. */
  readonly detected: number;
  /** The replica is at its path, and captured. */
  readonly promoted: number;
  /** The database on the new server has committed its first row. */
  readonly committed: number;
}

async function failover(cleanup: Cleanup): Promise<Failover> {
  const { signal } = new AbortController();
  const stage = new DemoStage(MAIN, systemClock);
  cleanup.add(`clear ${stage.folder}`, () => stage.clear(false));
  const problem = await stage.makeNetwork();
  if (problem !== undefined) throw new Error(problem);
  await stage.makeFleet(signal);
  await stage.prepareData({ database: ROWS_BEFORE, mail: MAILS_BEFORE });
  await stage.protect(given.number("detection"));
  const [alpha, beta] = [stage.server("alpha"), stage.server("beta")];
  await alpha.run("sh", "-c", stage.startCommand);
  await firstRowMs(alpha, ROWS_BEFORE, signal);
  await systemClock.sleep(given.number("seconds") * 1000);
  await stage.flush();
  const killedMs = await stage.lose(alpha);
  const logged = async (event: string) => {
    return Date.parse(String((await beta.waitFor(event, LIMIT_MS, signal)).time));
  };
  const secondsTo = (atMs: number) => rounded((atMs - killedMs) / 1000);
  return {
    detected: secondsTo(await logged("failure")),
    promoted: secondsTo(await logged("promoted")),
    committed: secondsTo(await firstRowMs(beta, 0, signal)),
  };
}

/** When the row behind so many was committed there. */
async function firstRowMs(server: DemoServer, behind: number, signal: AbortSignal) {
  const probe = () => server.notes("database").done[behind]?.atMs;
  return await server.until(probe, `row on ${server.name}`, LIMIT_MS, signal);
}

await withCleanup(async (cleanup) => {
  const machine = await describeMachine();
  const runs: (Failover | null)[] = [];
  for (let run = 1; run <= given.number("runs"); run++) {
    const found = await failover(cleanup).catch((error: Error) => {
      console.error(error.message);
      return null;
    });
    await cleanup.run();
    runs.push(found);
    console.error(`run ${run}: ${JSON.stringify(found)}`);
  }
  const of = (name: keyof Failover) => {
    const seconds = runs.map((run) => run?.[name] ?? null);
    const known = seconds.filter((value) => value !== null);
    return { median: medianOfRounds(seconds), max: Math.max(...known), runs: seconds };
  };
  const aim = given.number("aim");
  printResult({
    benchmark: "failover",
    machine,
    settings: {
      runs: runs.length,
      detectionSeconds: given.number("detection"),
      loadSeconds: given.number("seconds"),
    },
    results: {
      detected: of("detected"),
      promoted: of("promoted"),
      committed: of("committed"),
      aimSeconds: aim,
      reached: runs.filter((run) => run !== null && run.committed <= aim).length,
    },
  });
});
