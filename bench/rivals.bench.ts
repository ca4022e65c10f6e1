/**
 * Side by side with what people use today: Standin, lsyncd with rsync, and Syncthing, each between
 * two network namespaces of this machine, under the same loads and meters.
 *
 *   node bench/rivals.bench.ts --help
 */
import { mkdirSync, mkdtempSync, chmodSync } from "node:fs";
import { loadavg } from "node:os";

import { systemClock } from "../src/platform/clock.ts";
import { Arguments } from "./support/arguments.ts";
import { Cleanup, withCleanup } from "./support/cleanup.ts";
import { describeMachine, versionOf } from "./support/describe-machine.ts";
import { findPrograms, Postgres } from "./support/postgres.ts";
import { printResult } from "./support/print-result.ts";
import type { Contender } from "./support/rivals/contender.ts";
import { checkSums, type Cut, makeCuts } from "./support/rivals/cuts.ts";
import { lsyncd } from "./support/rivals/lsyncd.ts";
import { Manifest } from "./support/rivals/manifest.ts";
import { Notes } from "./support/rivals/notes.ts";
import { makeReflinkFolder } from "./support/rivals/reflink-folder.ts";
import { Stage } from "./support/rivals/stage.ts";
import { StallWatch } from "./support/rivals/stall-watch.ts";
import { standin } from "./support/rivals/standin.ts";
import {
  makeFiles,
  makeLarge,
  measureByte,
  measureLag,
  measureLoad,
  measureRename,
  untilSame,
} from "./support/rivals/steps.ts";
import { syncthing } from "./support/rivals/syncthing.ts";
import { runCommand } from "./support/run-command.ts";
import { rotated } from "./support/statistics.ts";
import { makeWorkFolder } from "./support/work-folder.ts";

const given = Arguments.parse("Compares Standin with lsyncd + rsync and with Syncthing.", {
  rows: { help: "rows to run", default: "lag,load,rename,large,cuts" },
  contenders: {
    help: "who takes part",
    default: "standin,lsyncd,lsyncd-fast,syncthing,syncthing-fast",
  },
  rounds: { help: "rounds, of cuts always one", default: "3" },
  "lag-seconds": { help: "seconds in which a file is written every 200 ms", default: "20" },
  "load-seconds": { help: "seconds of the load", default: "20" },
  "load-rate": { help: "files a second of the load", default: "100" },
  files: { help: "files in the folder that gets another name", default: "10000" },
  "large-size": { help: "size of the large file", default: "4G" },
  cuts: { help: "copies of the live database to open", default: "50" },
  "cut-pause": { help: "longest pause between two of them, in seconds", default: "4" },
  clients: { help: "pgbench's clients", default: "4" },
  scale: { help: "pgbench's scale factor, 15 MB each", default: "5" },
  keep: { help: "folder for the first copy of each database that is not clean" },
  seed: { help: "of the instants of the cuts", default: "1" },
  in: { help: "folder for the work folder", default: "/var/tmp" },
});

/** Of a whole database, or a large file. */
const COPIED_MS = 900_000;
/** After a step, for what a contender still does for it. */
const PAUSE_MS = 3000;
/** Time for the slowest to make its first rounds, before the first cut. */
const WARM_UP_MS = 20_000;
const ATTEMPTS = 3;
/** Of the file system of the cuts. */
const CUTS_BYTES = 16 * 1024 ** 3;
/** Small, so that cuts meet checkpoints, eviction, recycled WAL and vacuum. */
const DATABASE_SETTINGS = [
  "shared_buffers=16MB",
  "min_wal_size=32MB",
  "max_wal_size=48MB",
  "checkpoint_timeout=30s",
];
const CONTENDERS: readonly Contender[] = [
  standin(),
  lsyncd("lsyncd"),
  lsyncd("lsyncd-fast", 0),
  syncthing("syncthing"),
  syncthing("syncthing-fast", 1),
];

const notes = new Notes();
const watch = new StallWatch();

interface Visit {
  /** Rows that an earlier try has measured. */
  readonly done: Set<string>;
  readonly cleanup: Cleanup;
  readonly stage: Stage;
  readonly source: string;
  readonly home: string;
}

/** Where all of it takes place. */
interface Theatre {
  readonly work: string;
  readonly cleanup: Cleanup;
}

type Act = (visit: Visit) => Promise<void>;

/** Tries again what failed: also a benchmark of somebody else makes an agent answer late. */
async function visit(theatre: Theatre, contender: Contender, act: Act): Promise<void> {
  const done = new Set<string>();
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    try {
      await visitOnce(theatre, contender, (made) => act({ ...made, done }));
      return;
    } catch (error) {
      // The others go on; what is missing is missing in the result.
      console.error(`${contender.name} failed: ${(error as Error).stack}`);
      notes.problem(contender.name, (error as Error).message);
    }
  }
}

/** A stage, an empty source and a home for one contender; all of it is gone afterwards. */
async function visitOnce(
  { work, cleanup: outer }: Theatre,
  contender: Contender,
  act: (visit: Omit<Visit, "done">) => Promise<void>,
): Promise<void> {
  const cleanup = new Cleanup();
  outer.add(`end what ${contender.name} does`, () => cleanup.run()); // when it is cut off
  const home = mkdtempSync(`${work}/${contender.name}-`);
  const source = `${home}/source`;
  mkdirSync(source);
  chmodSync(home, 0o755); // the database's user goes through it
  cleanup.add(`remove ${home}`, async () => {
    await runCommand("rm", ["-rf", "--one-file-system", home], { limitMs: COPIED_MS });
  });
  const label = `${contender.name} (load average ${loadavg()[0]?.toFixed(1)})`;
  console.error(label);
  try {
    await act({ cleanup, stage: Stage.create(cleanup), source, home });
  } finally {
    await cleanup.run();
  }
}

const wants = (row: string) => given.list("rows").includes(row);

/** A tree is there, and small files are written, and it gets another name. */
async function runSmall(visited: Visit, contender: Contender): Promise<void> {
  const { cleanup, stage, source, home, done } = visited;
  const manifest = makeFiles(source, "before", given.number("files"));
  const { copy, stop } = await contender.start({ stage, source, home });
  cleanup.add(`stop ${contender.name}`, stop);
  await manifest.untilEqual(copy, COPIED_MS);
  const scene = { stage, source, copy, manifest };
  const row = async (name: string, step: Parameters<Notes["take"]>[3]) => {
    if (wants(name) && !done.has(name)) await notes.take(watch, name, contender.name, step);
    done.add(name);
  };
  await systemClock.sleep(PAUSE_MS);
  await row("lag", async () => {
    const figures = await measureLag(scene, given.number("lag-seconds"));
    await manifest.untilEqual(copy, COPIED_MS);
    return figures;
  });
  await systemClock.sleep(PAUSE_MS);
  await row("load", () => {
    return measureLoad(scene, given.number("load-seconds"), given.number("load-rate"));
  });
  await systemClock.sleep(PAUSE_MS);
  const names = ["before", "after"] as [string, string];
  await row("rename", async () => {
    const figures = await measureRename(scene, ...names);
    names.reverse(); // for another try
    return figures;
  });
}

async function runLarge(
  { cleanup, stage, source, home }: Visit,
  contender: Contender,
): Promise<void> {
  const bytes = given.size("large-size");
  await makeLarge(`${source}/large`, bytes);
  const { copy, stop } = await contender.start({ stage, source, home });
  cleanup.add(`stop ${contender.name}`, stop);
  await untilSame(source, copy, "large");
  await systemClock.sleep(PAUSE_MS);
  let position = Math.floor(bytes / 3);
  await notes.take(watch, "large", contender.name, () => {
    position += 12_345;
    return measureByte({ stage, source, copy }, "large", position);
  });
}

async function runCuts(visited: Visit, contender: Contender, programs: string): Promise<Cut[]> {
  const { cleanup, stage, source, home } = visited;
  const runFolder = `${home}/socket`;
  const options = { programs, folder: source, runFolder, settings: DATABASE_SETTINGS };
  const server = await Postgres.create(cleanup, options, given.number("scale"));
  const manifest = Manifest.of(source);
  const running = await contender.start({ stage, source, home });
  const { copy } = running;
  cleanup.add(`stop ${contender.name}`, () => running.stop());
  await manifest.untilEqual(copy, COPIED_MS);
  console.error("  the first copy is complete");
  cleanup.add("stop the live server", () => server.stop("immediate"));
  await server.start();
  const load = server.startLoad(given.number("clients"));
  cleanup.add("end pgbench", () => void load.kill("SIGKILL"));
  await systemClock.sleep(WARM_UP_MS);
  const cutHome = `${home}/cuts`;
  mkdirSync(cutHome);
  console.error("  the database is under load");
  const warning = async () => (await running.warning?.()) ?? null;
  const keep = given.optional("keep");
  if (keep !== undefined) cleanup.add("keep the logs", () => keepLogs(home, keep));
  const plan = { stage, copy, warning, home: cutHome, programs, load, keep };
  const [count, seed] = [given.number("cuts"), given.number("seed")];
  const pauseMaxMs = given.number("cut-pause") * 1000;
  const cuts = await makeCuts({ ...plan, count, seed, pauseMaxMs });
  // Else the copies could be as broken as what they are copies of.
  await checkSums(server);
  return cuts;
}

async function keepLogs(home: string, keep: string): Promise<void> {
  const place = `${keep}/${home.split("/").at(-1)}-logs`;
  await runCommand("sh", ["-c", 'mkdir -p "$2"; cp "$1"/*.log "$2"', "sh", home, place]);
}

async function runRounds(theatre: Theatre, contenders: readonly Contender[]): Promise<void> {
  const rounds = given.list("rows").every((row) => row === "cuts") ? 0 : given.number("rounds");
  for (let round = 0; round < rounds; round++) {
    console.error(`round ${round + 1}`);
    for (const contender of rotated(contenders, round)) {
      if (["lag", "load", "rename"].some(wants)) {
        await visit(theatre, contender, (visited) => runSmall(visited, contender));
      }
      if (!wants("large")) continue;
      await visit(theatre, contender, (visited) => runLarge(visited, contender));
    }
  }
}

async function runAllCuts(
  { work, cleanup }: Theatre,
  contenders: readonly Contender[],
  programs: string,
): Promise<void> {
  const theatre = { work: await makeReflinkFolder(cleanup, work, CUTS_BYTES), cleanup };
  for (const contender of contenders) {
    await visit(theatre, contender, async (visited) => {
      notes.cuts(contender.name, await runCuts(visited, contender, programs));
    });
  }
}

function chosen(): Contender[] {
  return given.list("contenders").map((name) => {
    const found = CONTENDERS.find((contender) => contender.name === name);
    if (found === undefined) throw new Error(`no such contender: ${name}`);
    return found;
  });
}

await withCleanup(async (cleanup) => {
  const contenders = chosen();
  const programs = wants("cuts") ? findPrograms() : undefined;
  const machine = await describeMachine();
  const work = await makeWorkFolder(cleanup, { parent: given.text("in") });
  cleanup.add("end the watch", () => watch.end());
  const theatre = { work, cleanup };
  await runRounds(theatre, contenders);
  if (programs !== undefined) await runAllCuts(theatre, contenders, programs);
  const described = [];
  for (const { name, settings, version } of contenders) {
    described.push({ name, settings, version: await version() });
  }
  const options = ["lag-seconds", "load-seconds", "load-rate", "files", "large-size", "cut-pause"];
  const settings = Object.fromEntries(
    [...options, "rounds", "cuts", "clients", "scale", "seed"].map((name) => [
      name,
      given.text(name),
    ]),
  );
  const names = contenders.map(({ name }) => name);
  const postgres =
    programs === undefined ? null : await versionOf(`${programs}/postgres`, "--version");
  printResult({
    benchmark: "rivals",
    machine: { ...machine, postgres },
    settings,
    contenders: described,
    ...notes.result(names),
  });
});
