/**
 * What does protecting very many files take? A tree of small files is mirrored and kept live: the
 * memory and descriptors of each process, the times, and the lag under a write load.
 *
 *   node bench/footprint.bench.ts --help
 */
import { mkdirSync, readdirSync, readFileSync } from "node:fs";

import type { InstanceStatus } from "../src/agent/instance-status.ts";
import { LagTracker } from "../src/agent/lag-tracker.ts";
import { sharedMemoryDirectory } from "../src/agent/state-directory.ts";
import { Ring } from "../src/journal/ring.ts";
import { systemClock } from "../src/platform/clock.ts";
import { Arguments } from "./support/arguments.ts";
import { withCleanup } from "./support/cleanup.ts";
import { describeMachine } from "./support/describe-machine.ts";
import { makeStateFolder } from "./support/make-targets.ts";
import { printResult } from "./support/print-result.ts";
import { runLoad } from "./support/run-load.ts";
import { StandinLocal } from "./support/standin-local.ts";
import { rounded } from "./support/statistics.ts";
import { makeWorkFolder } from "./support/work-folder.ts";

const LIMIT_MS = 7_200_000;
const SAMPLE_MS = 1000;
const LAG_SAMPLE_MS = 1;

const given = Arguments.parse("Measures memory, descriptors and lag with very many files.", {
  files: { help: "number of files", default: "1000000" },
  "file-size": { help: "size of each", default: "64" },
  seconds: { help: "seconds of each load", default: "20" },
  paces: {
    help: "operations a second of the loads, 0: as fast as it goes",
    default: "1000,5000,0",
  },
  in: { help: "folder for the work folder", default: "/var/tmp" },
  loop: { help: "size of a fresh ext4 in a loop file (as the files need)" },
});

interface Footprint {
  residentBytes: number;
  anonymousBytes: number;
  sharedBytes: number;
  descriptors: number;
}

/** The highest that was seen of each process, by role. */
class Watch {
  readonly #highest = new Map<string, Footprint>();

  sample(processes: InstanceStatus["processes"]): void {
    const known = processes.flatMap(({ role, pid }) => (pid === null ? [] : [{ role, pid }]));
    for (const { role, pid } of [...known, ...sparesOf(known)]) {
      const now = footprintOf(pid);
      if (now === undefined) continue;
      const before = this.#highest.get(role) ?? now;
      this.#highest.set(role, {
        residentBytes: Math.max(before.residentBytes, now.residentBytes),
        anonymousBytes: Math.max(before.anonymousBytes, now.anonymousBytes),
        sharedBytes: Math.max(before.sharedBytes, now.sharedBytes),
        descriptors: Math.max(before.descriptors, now.descriptors),
      });
    }
  }

  result(): object {
    return Object.fromEntries(this.#highest);
  }
}

interface Known {
  readonly role: string;
  readonly pid: number;
}

/** Children of the known processes that status does not list: the engine that waits its turn. */
function sparesOf(known: readonly Known[]): Known[] {
  return known.flatMap(({ role, pid }) =>
    childrenOf(pid)
      .filter((child) => !known.some((other) => other.pid === child))
      .map((child) => ({ role: `spare below the ${role}`, pid: child })),
  );
}

function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1");
    return text.split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Undefined when the process is gone. */
function footprintOf(pid: number): Footprint | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const bytesOf = (name: string) =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
    return {
      residentBytes: bytesOf("VmRSS"),
      anonymousBytes: bytesOf("RssAnon"),
      sharedBytes: bytesOf("RssShmem"),
      descriptors: readdirSync(`/proc/${pid}/fd`).length,
    };
  } catch {
    return undefined;
  }
}

/** Samples every second while `work` goes on; answers the highest figures too. */
async function watched<T>(local: StandinLocal, work: Promise<T>): Promise<[T, object]> {
  const watch = new Watch();
  const done = new AbortController();
  const watching = (async () => {
    while (!done.signal.aborted) {
      const processes = (local.event("status") as unknown as InstanceStatus | undefined)?.processes;
      watch.sample(processes ?? []);
      await systemClock.sleep(SAMPLE_MS, done.signal);
    }
  })();
  try {
    const result = await work;
    watch.sample((await local.status()).processes);
    return [result, watch.result()];
  } finally {
    done.abort();
    await watching;
  }
}

/** Runs a load, and follows how far the copy is behind, a thousand times a second. */
async function lagUnderLoad(
  local: StandinLocal,
  ring: Ring,
  source: string,
  pace: number,
): Promise<object> {
  await local.flush();
  const before = (await local.status()).queue.gaps;
  const tracker = new LagTracker();
  tracker.observe(performance.now(), ring.head, ring.applied);
  const done = new AbortController();
  const sampling = (async () => {
    while (!done.signal.aborted) {
      await systemClock.sleep(LAG_SAMPLE_MS);
      tracker.observe(performance.now(), ring.head, ring.applied);
    }
  })();
  try {
    const entries = given.number("files");
    const seconds = given.number("seconds");
    const order = { row: "update-tree", folder: source, entries, seconds, pace };
    const [{ operations, seconds: taken }, processes] = await watched(local, runLoad(order));
    await local.flush();
    done.abort();
    await sampling;
    const { p50Ms, p99Ms, maxMs } = tracker.figures();
    const lag = { p50Ms: rounded(p50Ms), p99Ms: rounded(p99Ms), maxMs: rounded(maxMs) };
    const gaps = (await local.status()).queue.gaps - before;
    const rate = rounded(operations / taken);
    console.error(`pace ${pace}: ${rate} operations/s, lag ${JSON.stringify(lag)}, gaps ${gaps}`);
    return { pace, operationsPerSecond: rate, lag, gaps, processes };
  } finally {
    done.abort();
    await sampling;
  }
}

/** Room for the tree and its copy, and as much again. */
function loopBytesOf(files: number, fileBytes: number): number {
  const blocks = Math.ceil(fileBytes / 4096) * 4096;
  return Math.ceil((files * (blocks + 512) * 2 * 1.5) / 2 ** 20 + 2048) * 2 ** 20;
}

await withCleanup(async (cleanup) => {
  const files = given.number("files");
  const fileBytes = given.size("file-size");
  const machine = await describeMachine();
  const loop = given.optional("loop");
  const loopBytes = loop === undefined ? loopBytesOf(files, fileBytes) : given.size("loop");
  const work = await makeWorkFolder(cleanup, {
    parent: given.text("in"),
    loopBytes,
    loopInodes: files * 2.5 + 10_000,
  });
  const folders = {
    source: `${work}/source`,
    replica: `${work}/replica`,
    state: makeStateFolder(cleanup),
  };
  mkdirSync(folders.source);
  mkdirSync(folders.replica);
  const tree = { folder: folders.source, entries: files, fileBytes };
  console.error(`making ${files} files`);
  const { seconds: makeSeconds } = await runLoad({ row: "build-tree", ...tree }, LIMIT_MS);
  const local = StandinLocal.start(cleanup, folders);
  const [mirrored, mirrorProcesses] = await watched(local, local.waitFor("mirrored", LIMIT_MS));
  console.error(`mirrored after ${rounded(mirrored.atMs / 1000)} s`);
  const walk = runLoad({ row: "walk-tree", ...tree }, LIMIT_MS);
  const [listed, listProcesses] = await watched(local, walk);
  console.error(`listed in ${rounded(listed.seconds)} s`);
  const again = await runLoad({ row: "walk-tree", ...tree }, LIMIT_MS);
  const ring = Ring.open(`${sharedMemoryDirectory((await local.status()).id)}/ring`);
  const loads: object[] = [];
  for (const pace of given.list("paces")) {
    loads.push(await lagUnderLoad(local, ring, folders.source, Number(pace)));
  }
  printResult({
    benchmark: "footprint",
    machine,
    settings: { files, fileBytes, seconds: given.number("seconds"), loopBytes },
    results: {
      makeSeconds: rounded(makeSeconds),
      mirror: { seconds: rounded(mirrored.atMs / 1000), processes: mirrorProcesses },
      list: {
        seconds: rounded(listed.seconds),
        againSeconds: rounded(again.seconds),
        processes: listProcesses,
      },
      loads,
    },
  });
});
