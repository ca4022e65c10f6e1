/** Who started whom, as /proc shows it; and their end. */
import { readFileSync } from "node:fs";
import { listPids } from "../../src/platform/processes.ts";

/** All that `ancestor` started and that those started, `ancestor` not among them. */
export function descendantsOf(ancestor: number): number[] {
  const parents = new Map(listPids().map((pid) => [pid, parentOf(pid)]));
  const childrenOf = (of: number) => [...parents].filter(([, parent]) => parent === of);
  const found = [ancestor];
  for (const pid of found) found.push(...childrenOf(pid).map(([child]) => child));
  return found.slice(1);
}

function parentOf(pid: number): number | undefined {
  try {
    // The name in parentheses may hold anything, so the fields are counted from its end.
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return undefined; // it has ended meanwhile
  }
}

export function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}
