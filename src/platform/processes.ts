/**
 * Other processes of this machine, as /proc shows them, and starting our own. A process is named by
 * pid *and* start time, because pids are reused: without the second, an agent that comes back after
 * a crash could signal a stranger.
 */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { flushCompileCache } from "node:module";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";

import type { Clock } from "./clock.ts";

export type { ChildProcess } from "node:child_process";

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks from boot to the start of the process. */
  readonly startTicks: number;
}

/** Positions in /proc/PID/stat behind the command, which ends at the last `)`. */
const STAT_STATE = 0;
const STAT_PARENT = 1;
const STAT_START_TICKS = 19;

function statFields(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

/**
 * A zombie counts as gone: it does nothing any more, and may wait for ever for a parent that is a
 * container's init.
 */
export function identify(pid: number): ProcessIdentity | undefined {
  const fields = statFields(pid);
  if (fields === undefined || fields[STAT_STATE] === "Z" || fields[STAT_STATE] === "X")
    return undefined;
  return { pid, startTicks: Number(fields[STAT_START_TICKS]) };
}

export function isAlive(process: ProcessIdentity): boolean {
  return identify(process.pid)?.startTicks === process.startTicks;
}

const LOOK_CLOSER_MS = 1000;

/**
 * For who asks many times a second whether one and the same process lives: /proc is read each
 * second, and between it is only seen whether somebody has the number. A zombie, or a number that
 * has another process by now, is found within that second.
 */
export class LivenessWatch {
  readonly #clock: Clock;
  /** Lived when it was looked at last. */
  #living: ProcessIdentity | undefined;
  #closerAtMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  isAlive({ pid, startTicks }: ProcessIdentity): boolean {
    const nowMs = this.#clock.monotonicMs();
    const { pid: knownPid, startTicks: knownTicks } = this.#living ?? {};
    const isKnown = pid === knownPid && startTicks === knownTicks && nowMs < this.#closerAtMs;
    if (isKnown && hasProcess(pid)) return true;
    const isLiving = isAlive({ pid, startTicks });
    this.#living = isLiving ? { pid, startTicks } : undefined;
    this.#closerAtMs = nowMs + LOOK_CLOSER_MS;
    return isLiving;
  }
}

function hasProcess(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** False when the process is gone. */
export function sendSignal(target: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(target)) return false;
  try {
    process.kill(target.pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** Resident bytes, those of shared memory included; 0 when the process is gone. */
export function residentBytes(pid: number): number {
  try {
    const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"));
    return Number(match?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Groups that the process is in besides its own; none when it is gone. */
export function supplementaryGroups(pid: number): number[] {
  try {
    const match = /^Groups:(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"));
    return (match?.[1] ?? "").trim().split(/\s+/).filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** The kernel's short name of the process, as `ps -o comm` shows it. */
export function commandName(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trimEnd();
  } catch {
    return "?";
  }
}

/** Those that it started and that are there, also as zombies. */
export function childrenOf(pid: number): number[] {
  return listPids().filter((each) => Number(statFields(each)?.[STAT_PARENT]) === pid);
}

export function listPids(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

export interface ScriptOptions {
  /** `import.meta.url` of the starting module, to which `script` is relative. */
  readonly base: string;
  readonly script: string;
  /** Handed over as the one argument, as JSON. */
  readonly config: unknown;
  readonly stdio: StdioOptions;
  /** In a session of its own, out of reach of the terminal's Ctrl-C. */
  readonly detached: boolean;
}

/** Starts one of our own scripts with the Node that runs us. */
export function startScript(options: ScriptOptions): ChildProcess {
  return startCommand(scriptCommand(options), options);
}

/** The command line that starts one of our own scripts. */
export function scriptCommand({
  base,
  script,
  config,
}: Pick<ScriptOptions, "base" | "script" | "config">): string[] {
  const path = fileURLToPath(new URL(script, base));
  return [process.execPath, path, JSON.stringify(config)];
}

/**
 * Compiled modules are kept here between starts, which more than halves the time that a new engine
 * takes until it answers. Node makes it, and does without when it cannot.
 */
const COMPILE_CACHE = "/var/cache/standin";

/**
 * Writes what was compiled so far to the cache. Node does so by itself only when a process ends in
 * an orderly way, and ours are made to be killed.
 */
export function keepCompiled(): void {
  flushCompileCache();
}

/** Starts a command; the first word is its program. */
export function startCommand(
  [program = "", ...args]: readonly string[],
  options: Pick<ScriptOptions, "stdio" | "detached">,
): ChildProcess {
  return spawn(program, args, {
    stdio: options.stdio,
    detached: options.detached,
    env: { ...process.env, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? COMPILE_CACHE },
    // A protected folder must never be somebody's working directory because of us: it would keep it
    // busy.
    cwd: "/",
  });
}

/** The configuration that {@link scriptCommand} holds. */
export function scriptConfig<T>(): T {
  const text = process.argv[2];
  if (text === undefined) throw new Error("this script is started by standin, not by hand");
  return JSON.parse(text) as T;
}

/** In percent of what a collection has left. */
const HEAP_GROWTH = 600;

/**
 * For a process that streams through sockets. V8 counts what they receive as growth of the heap
 * since it was collected, and collected all of a heap of 11 MB again for each 10 MB or so: at 20
 * MB/s, four times a second. With more room, the cheap collections of young objects free it first;
 * at 200 MB/s they come too late, and it hardly helps (docs/PERFORMANCE.md).
 */
export function expectStreams(): void {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH}`);
}

/** Best effort: a container may forbid it. Children inherit it. */
export function spareFromOutOfMemoryKiller(): void {
  try {
    writeFileSync("/proc/self/oom_score_adj", "-1000");
  } catch {
    // The process can do without; it is only more likely to be chosen.
  }
}

/**
 * Writes one JSON line at once; a full disk or a reader that is gone must not end the process that
 * reports.
 */
export function reportLine(fd: number, value: object): void {
  try {
    writeSync(fd, `${JSON.stringify(value)}\n`);
  } catch {
    // Reports are for people and for status; the work goes on without.
  }
}
