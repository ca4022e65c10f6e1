import { isAtOrBelow } from "../platform/mount-table.ts";
import type { Check, Finding, PreflightPlan, Surroundings } from "./check.ts";

/** Access mode of open(2): 0 is reading only. */
const ACCESS_MODE = 3;
const SHOWN_MAX = 5;

interface Bypass {
  readonly pid: number;
  readonly command: string;
  readonly path: string;
  readonly how: string;
}

/** A file that was opened before the mount is written beneath it: such changes are not captured. */
export const openFilesCheck: Check = {
  id: "open-files",
  reads: "/proc/*/fd with the flags in fdinfo, /proc/*/maps",
  run(plan, surroundings): Finding[] {
    const found = [...bypasses(plan, surroundings)];
    if (found.length === 0) return [];
    const shown = found.slice(0, SHOWN_MAX).map(describe).join("; ");
    const rest = found.length > SHOWN_MAX ? `; and ${found.length - SHOWN_MAX} more` : "";
    return [
      {
        level: plan.allowOpenFiles ? "warning" : "error",
        code: "OPEN_FILES",
        message: `changes through files that are already open would be missed: ${shown}${rest}`,
        hint: plan.allowOpenFiles
          ? "Restart these programs, and then run standin verify --repair."
          : "Stop these programs, start standin, start them again; or give --allow-open-files.",
      },
    ];
  },
};

function* bypasses({ source }: PreflightPlan, surroundings: Surroundings): Generator<Bypass> {
  const seen = new Set<string>();
  const isNew = (pid: number, path: string): boolean => {
    const key = `${pid} ${path}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  };
  for (const { pid, command, path, flags } of surroundings.openFiles()) {
    if ((flags & ACCESS_MODE) === 0 || !isBelow(path, source) || !isNew(pid, path)) continue;
    yield { pid, command, path, how: "open for writing" };
  }
  for (const { pid, command, path } of surroundings.sharedWritableMaps()) {
    if (!isBelow(path, source) || !isNew(pid, path)) continue;
    yield { pid, command, path, how: "mapped for writing" };
  }
}

function isBelow(path: string, source: string): boolean {
  return path !== source && isAtOrBelow(path, source);
}

function describe({ pid, command, path, how }: Bypass): string {
  return `${command} (pid ${pid}) has ${path} ${how}`;
}
