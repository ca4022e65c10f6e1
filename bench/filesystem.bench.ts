/**
 * What does the mount cost? Each kind of file system operation on the bare folder, on Standin's
 * mount and on mounts to compare with, in interleaved rounds.
 *
 *   node bench/filesystem.bench.ts --help
 */
import { Arguments } from "./support/arguments.ts";
import { withCleanup } from "./support/cleanup.ts";
import { Comparison } from "./support/comparison.ts";
import { describeMachine } from "./support/describe-machine.ts";
import { makeTargets, TARGET_ARGUMENTS } from "./support/make-targets.ts";
import { printResult } from "./support/print-result.ts";
import { runLoad } from "./support/run-load.ts";
import type { Target } from "./support/target.ts";
import { makeWorkFolder } from "./support/work-folder.ts";

const KIB = 1024;

/** What one operation is, and the bytes that it moves. */
const ROWS: Readonly<Record<string, { operation: string; bytes?: number }>> = {
  "write-4k-random": { operation: "buffered pwrite of 4 KiB at a random place", bytes: 4 * KIB },
  "write-4k-fdatasync": { operation: "the same and fdatasync, 64 MiB file", bytes: 4 * KIB },
  "write-128k-sequential": { operation: "buffered pwrite of 128 KiB in order", bytes: 128 * KIB },
  create: { operation: "create and close a new file; emptied, untimed, each 10,000" },
  "create-unlink": { operation: "create, close and unlink" },
  rename: { operation: "rename of one file to and fro" },
  stat: { operation: "stat of 1,000 files in turn" },
  open: { operation: "open and close of 1,000 files in turn" },
  chown: { operation: "chown of 1,000 files in turn, each a real change" },
  "read-4k-cached": { operation: "pread of 4 KiB at random, 64 MiB cached file", bytes: 4 * KIB },
  "read-cold-sequential": {
    operation:
      "read of 128 KiB in order after drop_caches; through a mount it may hit what the file " +
      "system beneath read ahead",
    bytes: 128 * KIB,
  },
  "mmap-write": {
    operation: "store of 4 KiB at random into a shared mapping, msync at the end included",
    bytes: 4 * KIB,
  },
  readdir: { operation: "whole listing of a folder of --entries files" },
  "sqlite-delete": {
    operation: "SQLite: one row a transaction, synchronous=FULL, journal deleted",
  },
  "sqlite-wal": { operation: "SQLite: one row a transaction, synchronous=FULL, WAL" },
  varmail: { operation: "step of filebench's varmail, --workers workers, fsync after each append" },
};

const given = Arguments.parse("Compares file system operations on several folders.", {
  rows: { help: `rows to run, of: ${Object.keys(ROWS).join(", ")}`, default: "all" },
  rounds: { help: "rounds", default: "5" },
  seconds: { help: "seconds of each run", default: "5" },
  ...TARGET_ARGUMENTS,
  skip: { help: "ROW:TARGET to leave out", multiple: true },
  in: { help: "folder for the work folder", default: "/var/tmp" },
  loop: { help: "size of a fresh ext4 in a loop file to put everything on, for example 8G" },
  size: { help: "size of the file of the data rows", default: "1G" },
  entries: { help: "files in the folder of the readdir row", default: "100000" },
  workers: { help: "workers of the varmail row", default: "16" },
});

function chosenRows(): string[] {
  const rows = given.text("rows") === "all" ? Object.keys(ROWS) : given.list("rows");
  const unknown = rows.filter((row) => ROWS[row] === undefined);
  if (unknown.length > 0) throw new Error(`no such row: ${unknown.join(", ")}`);
  return rows;
}

async function measure(row: string, { folder }: Target): Promise<{ rate: number }> {
  const { operations, seconds } = await runLoad({
    row,
    folder,
    seconds: given.number("seconds"),
    fileBytes: given.size("size"),
    entries: given.number("entries"),
    workers: given.number("workers"),
  });
  return { rate: operations / seconds };
}

await withCleanup(async (cleanup) => {
  const rows = chosenRows();
  const rounds = given.number("rounds");
  const machine = await describeMachine();
  const loop = given.optional("loop");
  const work = await makeWorkFolder(cleanup, {
    parent: given.text("in"),
    loopBytes: loop === undefined ? undefined : given.size("loop"),
  });
  const targets = await makeTargets(cleanup, work, given);
  const skipped = new Set(given.each("skip"));
  const comparisons = new Map(
    rows.map((row) => {
      const taken = targets.filter(({ name }) => !skipped.has(`${row}:${name}`));
      return [row, new Comparison(taken)];
    }),
  );
  for (let round = 0; round < rounds; round++) {
    for (const [row, comparison] of comparisons) {
      const title = `round ${round + 1}/${rounds}  ${row}`;
      await comparison.runRound(round, title, (target) => measure(row, target));
    }
  }
  const results = [...comparisons].map(([row, comparison]) => {
    return { row, unit: "operations/s", ...ROWS[row], ...comparison.result() };
  });
  const settings = {
    rounds,
    seconds: given.number("seconds"),
    fileBytes: given.size("size"),
    entries: given.number("entries"),
    workers: given.number("workers"),
    fileSystem: loop === undefined ? `that of ${given.text("in")}` : `fresh ext4 of ${loop}`,
    targetLoop: given.optional("target-loop") ?? null,
    targets: targets.map(({ name, kind }) => ({ name, kind })),
  };
  printResult({ benchmark: "filesystem", machine, settings, results });
});
