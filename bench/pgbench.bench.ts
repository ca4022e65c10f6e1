/**
 * How fast is PostgreSQL on Standin's mount? pgbench's TPC-B on a server of its own for each
 * target, in interleaved rounds; only one server runs at a time.
 *
 *   node bench/pgbench.bench.ts --help
 */
import { mkdtempSync, chmodSync, rmSync } from "node:fs";

import { Arguments } from "./support/arguments.ts";
import { withCleanup } from "./support/cleanup.ts";
import { Comparison } from "./support/comparison.ts";
import { describeMachine, versionOf } from "./support/describe-machine.ts";
import { makeTargets, TARGET_ARGUMENTS } from "./support/make-targets.ts";
import { findPrograms, Postgres } from "./support/postgres.ts";
import { printResult } from "./support/print-result.ts";
import { makeWorkFolder } from "./support/work-folder.ts";

const given = Arguments.parse("Compares pgbench on several folders. Needs root and postgresql.", {
  rounds: { help: "rounds", default: "5" },
  seconds: { help: "seconds of each run", default: "30" },
  clients: { help: "clients", default: "4" },
  scale: { help: "pgbench's scale factor, 15 MB each", default: "20" },
  setting: { help: "NAME=VALUE: a setting of the servers", multiple: true },
  ...TARGET_ARGUMENTS,
  in: { help: "folder for the work folder", default: "/var/tmp" },
  loop: { help: "size of a fresh ext4 in a loop file to put everything on, for example 8G" },
});

await withCleanup(async (cleanup) => {
  const programs = findPrograms();
  const rounds = given.number("rounds");
  const seconds = given.number("seconds");
  const clients = given.number("clients");
  const scale = given.number("scale");
  const settings = given.each("setting");
  const machine = await describeMachine();
  const loop = given.optional("loop");
  const work = await makeWorkFolder(cleanup, {
    parent: given.text("in"),
    loopBytes: loop === undefined ? undefined : given.size("loop"),
  });
  const targets = await makeTargets(cleanup, work, given);
  // The path of a socket is short.
  const runFolders = mkdtempSync("/tmp/standin-bench-pg-");
  chmodSync(runFolders, 0o755);
  cleanup.add(`remove ${runFolders}`, () => rmSync(runFolders, { recursive: true, force: true }));
  const servers = new Map<string, Postgres>();
  for (const { name, folder } of targets) {
    console.error(`filling the database on ${name}`);
    const options = { programs, folder, runFolder: `${runFolders}/${name}`, settings };
    servers.set(name, await Postgres.create(cleanup, options, scale));
  }
  const comparison = new Comparison(targets);
  for (let round = 0; round < rounds; round++) {
    await comparison.runRound(
      round,
      `round ${round + 1}/${rounds}  pgbench`,
      async ({ name, watchLag }) => {
        const server = servers.get(name) as Postgres;
        await server.start();
        const watch = watchLag?.();
        try {
          const measured = await server.bench(clients, seconds);
          return { ...measured, ...(await watch?.stop()) };
        } finally {
          await server.stop("fast");
        }
      },
    );
  }
  const postgresql = await versionOf(`${programs}/postgres`, "--version");
  printResult({
    benchmark: "pgbench",
    machine: { ...machine, postgresql },
    settings: {
      ...{ rounds, seconds, clients, scale, settings },
      loop: loop ?? null,
      targetLoop: given.optional("target-loop") ?? null,
    },
    results: [{ row: "tpc-b", unit: "transactions/s", ...comparison.result() }],
  });
});
