/**
 * Ends test files that hang. The test runner's own timeout cannot: it needs the event loop of the
 * hanging process, and a synchronous call into a mount that no longer answers blocks just that.
 * Such a process cannot even be killed before its mount's connection is aborted, so that comes
 * first.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";

const POLL_MS = 1000;

/** Watches this process's children until `stop()`; any that runs longer than allowed is ended. */
export class HangWatch {
  readonly #timer: NodeJS.Timeout;
  readonly #firstSeenMs = new Map<number, number>();
  /** Those that were there before are somebody else's. */
  readonly #mountsBefore = new Set(readTestMounts().map(({ id }) => id));
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
      if (nowMs - this.#firstSeenMs.get(pid)! > this.#fileTimeoutMs) this.#end(parents, pid);
    }
    for (const pid of this.#firstSeenMs.keys()) {
      if (!parents.has(pid)) this.#firstSeenMs.delete(pid); // the kernel may give the id out again
    }
  }

  /** Ends a process with all that it started, which else keeps its output open and us waiting. */
  #end(parents: ReadonlyMap<number, number>, pid: number): void {
    console.error(`${commandOf(pid)} hangs: aborting its mounts and ending it`);
    for (const mount of readTestMounts()) if (!this.#mountsBefore.has(mount.id)) abort(mount);
    for (const other of [pid, ...descendantsOf(parents, pid)]) {
      try {
        process.kill(other, "SIGKILL");
      } catch {
        // It has ended meanwhile.
      }
    }
  }
}

/** Takes a mount away from those who hang in it, too. */
function abort({ mountPoint, minor }: TestMount): void {
  try {
    writeFileSync(`/sys/fs/fuse/connections/${minor}/abort`, "1");
  } catch {
    // Its connection is gone, or /sys/fs/fuse/connections is not mounted; detaching still helps.
  }
  spawnSync("umount", ["--lazy", mountPoint], { timeout: 5000 });
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").at(-2) ?? String(pid);
  } catch {
    return String(pid); // it has ended meanwhile
  }
}

interface TestMount {
  readonly id: string;
  readonly mountPoint: string;
  readonly minor: string;
}

function readTestMounts(): TestMount[] {
  return testMounts(readFileSync("/proc/self/mountinfo", "utf8"));
}

/**
 * The FUSE mounts below the folder for temporary files, from the text of a mountinfo file. What
 * people use is never mounted there, so aborting these harms nobody.
 */
export function testMounts(mountinfo: string): TestMount[] {
  return mountinfo.split("\n").flatMap((line) => {
    // 36 35 0:98 /root /mount\040point rw,noatime shared:1 - fuse.standin source rw
    const [id = "", , device = "", , escaped = "", ...rest] = line.split(" ");
    const type = rest[rest.indexOf("-") + 1] ?? "";
    const mountPoint = escaped.replaceAll(/\\(\d{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const isTest = /^fuse(?:\.|$)/.test(type) && mountPoint.startsWith(`${tmpdir()}/`);
    return isTest ? [{ id, mountPoint, minor: device.split(":")[1] ?? "" }] : [];
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
