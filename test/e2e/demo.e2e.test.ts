/** The demo, which is the whole story: two servers, one of them lost, and nothing left behind. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import { listPids } from "../../src/platform/processes.ts";
import { until } from "../support/agent-run.ts";
import { skipUnless } from "../support/capabilities.ts";
import { readIfThere } from "../support/read-if-there.ts";

const MAIN = join(import.meta.dirname, "../../src/main.ts");
const timeout = 400_000;
const isPossible = ["root", "fuse", "fuse-resend"] as const;
const onLoopback = skipUnless(...isPossible);
const onNetwork = skipUnless(...isPossible, "network-namespaces", "command:ip");

interface Run {
  readonly child: ChildProcess;
  /** Where it makes its folder: nobody else's demo does. */
  readonly folder: string;
  readonly lines: Record<string, unknown>[];
  readonly stderr: () => string;
}

function startDemo(t: TestContext, ...options: string[]): Run {
  const folder = mkdtempSync(join(tmpdir(), "standin-test-"));
  const args = [MAIN, "demo", "--seconds", "2", "--json", ...options];
  const child = spawn(process.execPath, args, { env: { ...process.env, TMPDIR: folder } });
  const lines: Record<string, unknown>[] = [];
  let [rest, stderr] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts.map((line) => JSON.parse(line) as Record<string, unknown>));
  });
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  t.after(() => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  return { child, folder, lines, stderr: () => stderr };
}

async function ended({ child }: Run): Promise<unknown> {
  const [code] = child.exitCode === null ? await once(child, "close") : [child.exitCode];
  return code;
}

async function reached({ lines, stderr }: Run, title: RegExp): Promise<void> {
  await until(
    () => lines.find((line) => title.test(String(line.title))),
    () => `${JSON.stringify(lines)} ${stderr()}`,
    timeout,
  );
}

/** Processes that name the folder, mounts below it, and what is in it. */
function leftovers(folder: string): string[] {
  const processes = listPids().filter((pid) =>
    readIfThere(`/proc/${pid}/cmdline`).includes(folder),
  );
  const mounts = readIfThere("/proc/self/mountinfo").split("\n");
  return [
    ...processes.map((pid) => `process ${pid}: ${readIfThere(`/proc/${pid}/cmdline`)}`),
    ...mounts.filter((line) => line.includes(folder)),
    ...(existsSync(folder) ? readdirSync(folder) : []),
  ];
}

test("standin demo: a server is lost, and the other one takes over by itself", {
  skip: onNetwork,
  timeout,
}, async (t) => {
  const run = startDemo(t);
  assert.equal(await ended(run), 0, run.stderr());
  const figures = run.lines.at(-1) as {
    isIntact: boolean;
    isByItself: boolean;
    broken: string[];
    promotedMs: number;
    firstRowMs: number;
    captured: { ops: number };
    database: {
      acknowledged: number;
      committedAfter: number;
      inspection: { integrity: string; missing: number; foundOf: Record<string, number> };
    };
  };
  assert.deepEqual([figures.isIntact, figures.isByItself, figures.broken], [true, true, []]);
  const { acknowledged, committedAfter, inspection } = figures.database;
  assert.equal(inspection.integrity, "ok");
  assert.ok(acknowledged > 1000, "rows were committed while it was protected");
  assert.ok((inspection.foundOf.alpha ?? 0) >= acknowledged);
  assert.equal(inspection.foundOf.beta, committedAfter);
  assert.ok(figures.promotedMs > 4000 && figures.promotedMs < figures.firstRowMs);
  assert.deepEqual(leftovers(run.folder), []);
});

test("standin demo works on loopback addresses, with a promotion by hand", {
  skip: onLoopback,
  timeout,
}, async (t) => {
  const run = startDemo(t, "--loopback");
  assert.equal(await ended(run), 0, run.stderr());
  const { isIntact, isByItself } = run.lines.at(-1) ?? {};
  assert.deepEqual([isIntact, isByItself], [true, false]);
  assert.deepEqual(leftovers(run.folder), []);
});

test("standin demo leaves nothing behind when it is interrupted", {
  skip: onLoopback,
  timeout,
}, async (t) => {
  const run = startDemo(t, "--seconds", "60");
  await reached(run, /Replication under load/);
  run.child.kill("SIGINT");
  assert.equal(await ended(run), 1);
  assert.match(run.stderr(), /interrupted/);
  assert.deepEqual(leftovers(run.folder), []);
});

test("with a demo that is killed all its servers die", { skip: onLoopback, timeout }, async (t) => {
  const run = startDemo(t, "--seconds", "60");
  await reached(run, /Replication under load/);
  run.child.kill("SIGKILL");
  const processes = () => leftovers(run.folder).filter((line) => line.startsWith("process"));
  await until(
    () => processes().length === 0 || undefined,
    () => processes().join("\n"),
  );
});

test("standin demo says what goes wrong, exits with 1, and leaves nothing behind", {
  skip: onLoopback,
  timeout,
}, async (t) => {
  const run = startDemo(t, "--seconds", "60");
  await reached(run, /Replication under load/);
  const databases = listPids().filter((pid) => {
    const commandLine = readIfThere(`/proc/${pid}/cmdline`);
    return commandLine.includes("database-process.ts") && commandLine.includes(run.folder);
  });
  for (const pid of databases) process.kill(pid, "SIGKILL");
  assert.equal(await ended(run), 1);
  assert.match(run.stderr(), /standin: the demo failed: .*database/);
  assert.deepEqual(leftovers(run.folder), []);
});
