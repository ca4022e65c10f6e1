import { readdirSync, readFileSync } from "node:fs";

/** Ends every process that was started with this folder of shared memory. */
export function killUsersOf(shmDir: string): void {
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    try {
      const commandLine = readFileSync(`/proc/${name}/cmdline`, "utf8");
      if (commandLine.includes(`"${shmDir}"`)) killQuietly(Number(name));
    } catch {
      // It ended meanwhile.
    }
  }
}

export function killQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It is gone already.
  }
}
