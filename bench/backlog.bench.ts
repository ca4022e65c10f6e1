/**
 * Does a target keep up with an application that writes as fast as it can, and how long does it
 * take to catch up afterwards? fio writes to a folder that a second agent keeps, over TLS on
 * loopback: source and target share the processors and the disk.
 *
 *   node bench/backlog.bench.ts --help
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";

import type { SourceStatus } from "../src/agent/jobs/job-status.ts";
import { systemClock } from "../src/platform/clock.ts";
import { Arguments } from "./support/arguments.ts";
import { withCleanup } from "./support/cleanup.ts";
import { describeMachine } from "./support/describe-machine.ts";
import { printResult } from "./support/print-result.ts";
import { StandinServers } from "./support/standin-servers.ts";
import { rounded } from "./support/statistics.ts";
import { makeWorkFolder } from "./support/work-folder.ts";

const START_MS = 60_000;
const CATCH_UP_MS = 600_000;
const SAMPLE_MS = 250;

const given = Arguments.parse("Writes at full speed, then waits for the target. Needs root, fio.", {
  seconds: { help: "seconds of writing", default: "60" },
  block: { help: "bytes of each write, at random places", default: "4k" },
  size: { help: "bytes of the file", default: "1g" },
  in: { help: "folder for the work folder", default: "/var/tmp" },
  loop: { help: "size of the fresh ext4 that everything lies on", default: "24G" },
});

interface Sample {
  readonly seconds: number;
  readonly lsn: number;
  readonly applied: number;
  readonly spilledBytes: number;
  readonly isProtected: boolean;
}

function sampleOf(status: SourceStatus, startMs: number): Sample {
  return {
    seconds: rounded((performance.now() - startMs) / 1000),
    lsn: status.lsn,
    applied: status.targets[0]?.appliedLsn ?? 0,
    spilledBytes: status.spilledBytes,
    isProtected: status.protected,
  };
}

function startFio(folder: string): { child: ChildProcess; output: () => string } {
  const options = [
    ...["--name=backlog", `--directory=${folder}`, "--rw=randwrite", "--ioengine=psync"],
    ...[`--bs=${given.text("block")}`, `--size=${given.text("size")}`, "--fallocate=none"],
    ...["--time_based", `--runtime=${given.number("seconds")}`, "--output-format=json"],
  ];
  const child = spawn("fio", options, { stdio: ["ignore", "pipe", "inherit"] });
  // Its exit code is then set, too.
  child.once("error", ({ message }) => {
    console.error(`${message}: install Debian's package fio, or look at PATH`);
  });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  return { child, output: () => text };
}

interface FioWrites {
  readonly iops: number;
  readonly bw_bytes: number;
  readonly lat_ns: { readonly max: number };
}

await withCleanup(async (cleanup) => {
  const machine = await describeMachine();
  const work = await makeWorkFolder(cleanup, {
    parent: given.text("in"),
    loopBytes: given.size("loop"),
  });
  const folder = `${work}/source`;
  mkdirSync(folder);
  const servers = await StandinServers.start(cleanup, `${work}/agents`);
  await servers.protect(folder, `${work}/replica`);
  await servers.untilProtected(START_MS);
  const { child, output } = startFio(folder);
  cleanup.add("end fio", () => void child.kill("SIGKILL"));
  const startMs = performance.now();
  const samples: Sample[] = [];
  const sample = async (): Promise<Sample> => {
    const taken = sampleOf(await servers.status(), startMs);
    samples.push(taken);
    return taken;
  };
  while (child.exitCode === null && child.signalCode === null) {
    await sample();
    await systemClock.sleep(SAMPLE_MS);
  }
  if (child.exitCode !== 0) throw new Error("fio failed");
  const ended = await sample();
  let last = ended;
  while (last.applied < ended.lsn || !last.isProtected) {
    if (last.seconds - ended.seconds > CATCH_UP_MS / 1000) throw new Error("it does not catch up");
    await systemClock.sleep(SAMPLE_MS);
    last = await sample();
  }
  const writes = (JSON.parse(output()) as { jobs: { write: FioWrites }[] }).jobs[0]?.write;
  if (writes === undefined) throw new Error("fio printed no figures");
  const backlog = ended.lsn - ended.applied;
  const seconds = last.seconds - ended.seconds;
  printResult({
    benchmark: "backlog",
    machine,
    settings: { seconds: given.number("seconds"), block: given.text("block") },
    results: [
      {
        writesPerSecond: rounded(writes.iops),
        bytesPerSecond: rounded(writes.bw_bytes),
        longestWriteMs: rounded(writes.lat_ns.max / 1e6),
        backlogOps: backlog,
        largestBacklogOps: Math.max(...samples.map(({ lsn, applied }) => lsn - applied)),
        largestSpillBytes: Math.max(...samples.map(({ spilledBytes }) => spilledBytes)),
        catchUpSeconds: rounded(seconds),
        /** Null: there was no backlog to speak of. */
        appliedPerSecondAfter: backlog > writes.iops ? rounded(backlog / seconds) : null,
        alwaysProtected: samples.every(({ isProtected }) => isProtected),
      },
    ],
  });
});
