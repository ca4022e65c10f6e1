/**
 * Ends test files that hang. The test runner's own timeout cannot: it needs the event loop of the
 * hanging process, and a synchronous call into a mount that no longer answers blocks just that. Such
 * a process cannot even be killed before its mount's connection is aborted, so that comes first.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";

const POLL_MS = 1000;

/** Watches this process's children until `stop()`; any that runs longer than allowed is ended. */
export class HangWatch {
  readonly #timer: NodeJS.Timeout;
  readonly #firstSeenMs = new Map<number, number>();
  readonly #fileTimeoutMs: number;

  constructor(fileTimeoutMs: number) {
    this.#fileTimeoutMs = fileTimeoutMs;
    this.#timer = setInterval(() => this.#poll(), POLL_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #poll(): void {
    const nowMs = performance.now();
    const parents = readParents();
    for (const pid of childrenOf(parents, process.pid)) {
      if (!this.#firstSeenMs.has(pid)) this.#firstSeenMs.set(pid, nowMs);
      if (nowMs - this.#firstSeenMs.get(pid)! > this.#fileTimeoutMs) endTree(parents, pid);
    }
    for (const pid of this.#firstSeenMs.keys()) {
      if (!parents.has(pid)) this.#firstSeenMs.delete(pid); // the kernel may give the id out again
    }
  }
}

/** Ends a process with all that it started, which else keeps its output open and us waiting. */
function endTree(parents: ReadonlyMap<number, number>, pid: number): void {
  const file = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").at(-2);
  console.error(`${file ?? pid} hangs: aborting its mounts and ending it`);
  abortTestMounts();
  for (const other of [pid, ...descendantsOf(parents, pid)]) {
    try {
      process.kill(other, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** Aborts FUSE mounts below the folder for temporary files; a real one is never there. */
function abortTestMounts(): void {
  for (const { mountPoint, minor } of testMounts(readFileSync("/proc/self/mountinfo", "utf8"))) {
    try {
      writeFileSync(`/sys/fs/fuse/connections/${minor}/abort`, "1");
    } catch {
      // Its connection is gone, or /sys/fs/fuse/connections is not mounted; detaching still helps.
    }
    spawnSync("umount", ["--lazy", mountPoint], { timeout: 5000 });
  }
}

interface TestMount {
  readonly mountPoint: string;
  readonly minor: string;
}

/** The FUSE mounts below the folder for temporary files, from the text of a mountinfo file. */
export function testMounts(mountinfo: string): TestMount[] {
  return mountinfo.split("\n").flatMap((line) => {
    // 36 35 0:98 /root /mount\040point rw,noatime shared:1 - fuse.standin source rw
    const [, , device = "", , escaped = "", ...rest] = line.split(" ");
    const type = rest[rest.indexOf("-") + 1] ?? "";
    const mountPoint = escaped.replaceAll(/\\(\d{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const isTest = /^fuse(?:\.|$)/.test(type) && mountPoint.startsWith(`${tmpdir()}/`);
    return isTest ? [{ mountPoint, minor: device.split(":")[1] ?? "" }] : [];
  });
}

/** The parent of every process on this machine. */
function readParents(): Map<number, number> {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      // The name in parentheses may hold anything, so the fields are counted from its end.
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // It has ended meanwhile.
    }
  }
  return parents;
}

function childrenOf(parents: ReadonlyMap<number, number>, parent: number): number[] {
  return [...parents].filter(([, of]) => of === parent).map(([pid]) => pid);
}

function descendantsOf(parents: ReadonlyMap<number, number>, parent: number): number[] {
  return childrenOf(parents, parent).flatMap((pid) => [pid, ...descendantsOf(parents, pid)]);
}
