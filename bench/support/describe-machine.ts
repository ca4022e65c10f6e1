/** What a benchmark's figures belong to: the machine, its versions, and how busy it was. */
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem } from "node:os";

import { VERSION } from "../../src/base/version.ts";
import { runCommand } from "./run-command.ts";

export async function describeMachine(): Promise<object> {
  return {
    processor: cpus()[0]?.model.trim() ?? "unknown",
    processors: availableParallelism(),
    memoryBytes: totalmem(),
    system: systemName(),
    kernel: release(),
    node: process.version,
    standin: VERSION,
    commit: await commit(),
    loadAverageAtStart: loadavg()[0],
    startedAt: new Date().toISOString(),
  };
}

function systemName(): string {
  const text = readFileSync("/etc/os-release", "utf8");
  return /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1] ?? "unknown";
}

/** Null outside a git checkout. */
async function commit(): Promise<string | null> {
  try {
    const options = { cwd: import.meta.dirname, limitMs: 10_000 };
    return (await runCommand("git", ["rev-parse", "--short", "HEAD"], options)).stdout.trim();
  } catch {
    return null;
  }
}

/** First line of what a program says about its version. */
export async function versionOf(file: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await runCommand(file, args, { limitMs: 10_000 });
  return stdout.split("\n", 1)[0]?.trim() ?? "";
}
