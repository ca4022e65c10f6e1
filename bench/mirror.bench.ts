/**
 * How long do the first copy and a comparison take beside rsync? Two shapes: many small files, and
 * one large file. Each round copies with both, changes 1 % of both copies, and lets both find and
 * repair it; who is first changes from round to round.
 *
 *   node bench/mirror.bench.ts --help
 */
import { closeSync, mkdirSync, openSync, readSync, writeSync } from "node:fs";

import { treeFile } from "./load/tree-rows.ts";
import { Arguments } from "./support/arguments.ts";
import { Cleanup, withCleanup } from "./support/cleanup.ts";
import { describeMachine, versionOf } from "./support/describe-machine.ts";
import { makeStateFolder } from "./support/make-targets.ts";
import { printResult } from "./support/print-result.ts";
import { runCommand } from "./support/run-command.ts";
import { runLoad } from "./support/run-load.ts";
import { startSshServer } from "./support/ssh-server.ts";
import { StandinLocal } from "./support/standin-local.ts";
import { StandinServers } from "./support/standin-servers.ts";
import { medianOfRounds, ratioOf, rotated, rounded } from "./support/statistics.ts";
import { makeWorkFolder } from "./support/work-folder.ts";

const PIECE_BYTES = 1 << 20;
const PAGE = 4096;
const CHANGED_SHARE = 0.01;
const LIMIT_MS = 3_600_000;
const VERIFY_OPTIONS = ["-a", "--checksum", "--inplace", "--no-whole-file"];

const given = Arguments.parse("Compares the first copy and verify with rsync. Needs rsync.", {
  shapes: { help: "shapes to run", default: "many,large" },
  rounds: { help: "rounds", default: "3" },
  files: { help: "number of small files", default: "100000" },
  "file-size": { help: "size of each", default: "8K" },
  "large-size": { help: "size of the large file", default: "4G" },
  network: { help: "between two agents over TLS, beside rsync over ssh; on loopback", flag: true },
  warm: { help: "leave the caches as they are before each run; else they are dropped", flag: true },
  in: { help: "folder for the work folder", default: "/var/tmp" },
  loop: { help: "size of a fresh ext4 in a loop file to put everything on, for example 24G" },
});

interface Timings {
  readonly seconds: number;
  readonly fromMountedSeconds?: number;
}

/** What is copied, and how 1 % of a copy is changed: other places in each round. */
interface Shape {
  readonly make: (source: string) => Promise<void>;
  readonly change: (copy: string, round: number) => number;
}

const SHAPES: Readonly<Record<string, Shape>> = {
  many: {
    async make(folder) {
      const entries = given.number("files");
      const fileBytes = given.size("file-size");
      await runLoad({ row: "build-tree", folder, entries, fileBytes }, LIMIT_MS);
    },
    change(copy, round) {
      const files = given.number("files");
      const step = Math.round(1 / CHANGED_SHARE);
      let count = 0;
      for (let file = round % step; file < files; file += step, count++) {
        invertByte(treeFile(copy, file), 5);
      }
      return count;
    },
  },
  large: {
    async make(folder) {
      const megabytes = Math.ceil(given.size("large-size") / PIECE_BYTES);
      const size = ["bs=1M", `count=${megabytes}`, "iflag=fullblock", "status=none"];
      await runCommand("dd", ["if=/dev/urandom", `of=${folder}/large`, ...size], {
        limitMs: LIMIT_MS,
      });
    },
    change(copy, round) {
      const pieces = Math.ceil(given.size("large-size") / PIECE_BYTES);
      const step = Math.round(1 / CHANGED_SHARE);
      let count = 0;
      for (let piece = round % step; piece < pieces; piece += step, count++) {
        invertByte(`${copy}/large`, piece * PIECE_BYTES + PAGE);
      }
      return count;
    },
  },
};

function invertByte(path: string, position: number): void {
  const fd = openSync(path, "r+");
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, position);
  byte[0] = ~(byte[0] as number);
  writeSync(fd, byte, 0, 1, position);
  closeSync(fd);
}

async function prepareRun(): Promise<void> {
  await runCommand("sync", [], { limitMs: LIMIT_MS });
  if (!given.flag("warm")) {
    await runCommand("sh", ["-c", "echo 3 > /proc/sys/vm/drop_caches"], { limitMs: 60_000 });
  }
}

/** One of the two that are compared, in one round. */
interface Contender {
  readonly name: "standin" | "rsync";
  readonly copy: string;
  mirror(): Promise<Timings>;
  verify(changed: number): Promise<Timings>;
}

function rsync(source: string, copy: string, shell: string | undefined): Contender {
  const run = async (options: readonly string[]): Promise<Timings> => {
    const over = shell === undefined ? [] : ["-e", shell];
    const to = shell === undefined ? `${copy}/` : `127.0.0.1:${copy}/`;
    const args = [...options, ...over, `${source}/`, to];
    return { seconds: (await runCommand("rsync", args, { limitMs: LIMIT_MS })).seconds };
  };
  return {
    name: "rsync",
    copy,
    mirror: () => run(["-a"]),
    verify: () => run(VERIFY_OPTIONS),
  };
}

function standin(cleanup: Cleanup, source: string, copy: string): Contender {
  const folders = { source, replica: copy, state: makeStateFolder(cleanup) };
  let local: StandinLocal | undefined;
  return {
    name: "standin",
    copy,
    async mirror() {
      local = StandinLocal.start(cleanup, folders);
      const mirrored = await local.waitFor("mirrored", LIMIT_MS);
      const mounted = await local.waitFor("mounted", 0);
      // From the start of the command, as with rsync; the copying alone beside it.
      const copying = (mirrored.atMs - mounted.atMs) / 1000;
      return { seconds: mirrored.atMs / 1000, fromMountedSeconds: copying };
    },
    async verify(changed) {
      if (local === undefined) throw new Error("there is no instance");
      const { answer, seconds } = await local.command(["verify", "--repair"], LIMIT_MS);
      console.error(`  ${changed} places changed; verify: ${JSON.stringify(answer).slice(0, 300)}`);
      return { seconds };
    },
  };
}

/** The agents run before the clock does, as sshd does. */
async function servers(cleanup: Cleanup, source: string, copy: string): Promise<Contender> {
  const state = `${copy}-agents`;
  cleanup.add(`remove ${state}`, async () => {
    await runCommand("rm", ["-rf", state], { limitMs: LIMIT_MS });
  });
  const running = await StandinServers.start(cleanup, state);
  return {
    name: "standin",
    copy: `${copy}/0`,
    async mirror() {
      const startedMs = performance.now();
      await running.protect(source, copy);
      await running.untilProtected(LIMIT_MS);
      return { seconds: (performance.now() - startedMs) / 1000 };
    },
    async verify(changed) {
      const { answer, seconds } = await running.verifyAndRepair();
      console.error(`  ${changed} places changed; verify: ${JSON.stringify(answer).slice(0, 300)}`);
      return { seconds };
    },
  };
}

async function checkEqual(source: string, copy: string): Promise<void> {
  const { stdout } = await runCommand("rsync", ["-rlcn", "--out-format=%n", `${source}/`, copy], {
    limitMs: LIMIT_MS,
  });
  const names = stdout.split("\n").filter((name) => name !== "" && !name.endsWith("/"));
  if (names.length > 0) throw new Error(`${copy} differs: ${names.slice(0, 5).join(", ")}`);
}

type Found = Map<string, Timings[]>;

async function runRound(
  shape: string,
  work: string,
  round: number,
  found: Found,
  shell: string | undefined,
): Promise<void> {
  const cleanup = new Cleanup();
  const source = `${work}/${shape}`;
  const copies = { standin: `${work}/copy-standin`, rsync: `${work}/copy-rsync` };
  for (const copy of Object.values(copies)) mkdirSync(copy);
  cleanup.add("remove the copies", async () => {
    await runCommand("rm", ["-rf", ...Object.values(copies)], { limitMs: LIMIT_MS });
  });
  const isLocal = shell === undefined;
  const contenders = [
    isLocal
      ? standin(cleanup, source, copies.standin)
      : await servers(cleanup, source, copies.standin),
    rsync(source, copies.rsync, shell),
  ];
  const order = rotated(contenders, round);
  const note = (step: string, contender: Contender, timings: Timings) => {
    const key = `${step} ${contender.name}`;
    found.set(key, [...(found.get(key) ?? []), timings]);
    console.error(`round ${round + 1}  ${shape}  ${key}: ${rounded(timings.seconds)} s`);
  };
  try {
    for (const contender of order) {
      await prepareRun();
      note("mirror", contender, await contender.mirror());
    }
    const changed = new Map(order.map((each) => [each, changeCopy(shape, each, round)]));
    for (const contender of order) {
      await prepareRun();
      note("verify", contender, await contender.verify(changed.get(contender) ?? 0));
    }
    for (const { copy } of order) await checkEqual(source, copy);
  } finally {
    await cleanup.run();
  }
}

function changeCopy(shape: string, { copy }: Contender, round: number): number {
  return (SHAPES[shape] as Shape).change(copy, round);
}

function resultOf(shape: string, work: string, found: Found): object {
  const of = (name: string, figure: keyof Timings) =>
    (found.get(`${work} ${name}`) ?? []).map((timings) => timings[figure] ?? null);
  const figures = (name: string, figure: keyof Timings) => {
    const rounds = of(name, figure);
    const seconds = rounds.map((value) => (value === null ? null : rounded(value)));
    return { seconds, median: rounded(medianOfRounds(rounds) ?? Number.NaN) };
  };
  const isMirror = work === "mirror";
  return {
    row: `${work} ${shape}`,
    unit: "seconds",
    standin: figures("standin", "seconds"),
    ...(isMirror ? { standinFromMounted: figures("standin", "fromMountedSeconds") } : {}),
    rsync: { command: isMirror ? ["-a"] : VERIFY_OPTIONS, ...figures("rsync", "seconds") },
    // Of times: below 1 is faster than rsync.
    ratio: ratioOf(of("standin", "seconds"), of("rsync", "seconds")),
  };
}

await withCleanup(async (cleanup) => {
  const machine = await describeMachine();
  const loop = given.optional("loop");
  const work = await makeWorkFolder(cleanup, {
    parent: given.text("in"),
    loopBytes: loop === undefined ? undefined : given.size("loop"),
    loopInodes: loop === undefined ? undefined : given.number("files") * 4 + 10_000,
  });
  const shell = given.flag("network") ? await startSshServer(cleanup) : undefined;
  const results: object[] = [];
  for (const shape of given.list("shapes")) {
    const { make } = SHAPES[shape] ?? {};
    if (make === undefined) throw new Error(`no such shape: ${shape}`);
    const found: Found = new Map();
    mkdirSync(`${work}/${shape}`);
    console.error(`making the source ${shape}`);
    await make(`${work}/${shape}`);
    for (let round = 0; round < given.number("rounds"); round++) {
      await runRound(shape, work, round, found, shell);
    }
    results.push(resultOf(shape, "mirror", found), resultOf(shape, "verify", found));
    await runCommand("rm", ["-rf", `${work}/${shape}`], { limitMs: LIMIT_MS });
  }
  const settings = {
    rounds: given.number("rounds"),
    files: given.number("files"),
    fileBytes: given.size("file-size"),
    largeBytes: given.size("large-size"),
    network: given.flag("network"),
    caches: given.flag("warm") ? "as they were" : "dropped before each run",
    loop: loop ?? null,
  };
  const rsyncVersion = await versionOf("rsync", "--version");
  printResult({ benchmark: "mirror", machine: { ...machine, rsyncVersion }, settings, results });
});
