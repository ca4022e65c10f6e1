/** The mounts of this process's namespace, as /proc/self/mountinfo lists them (proc(5)). */
import { readFileSync } from "node:fs";

export interface MountEntry {
  readonly id: number;
  readonly device: string;
  readonly path: string;
  readonly options: readonly string[];
  readonly type: string;
}

export function readMountTable(): MountEntry[] {
  return parseMountTable(readFileSync("/proc/self/mountinfo", "utf8"));
}

/**
 * Lines that are not understood are left out. In the order of mounting: the last one at a path is
 * on top.
 */
export function parseMountTable(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split("\n")) {
    const [left, right] = line.split(" - ");
    const fields = left?.split(" ") ?? [];
    const [id, , device, , path, options] = fields;
    const type = right?.split(" ")[0];
    if (id === undefined || device === undefined || path === undefined) continue;
    if (options === undefined || type === undefined) continue;
    entries.push({
      id: Number(id),
      device,
      path: unescapeOctal(path),
      options: options.split(","),
      type,
    });
  }
  return entries;
}

/** Spaces, tabs, newlines and backslashes stand as `\040` and so on. */
function unescapeOctal(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, digits) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** The topmost mount that holds `path` (which must be real and absolute). */
export function mountHolding(table: readonly MountEntry[], path: string): MountEntry | undefined {
  let found: MountEntry | undefined;
  for (const entry of table) {
    if (!isAtOrBelow(path, entry.path)) continue;
    if (found === undefined || entry.path.length >= found.path.length) found = entry;
  }
  return found;
}

/** Mounts strictly below `path`. */
export function mountsBelow(table: readonly MountEntry[], path: string): MountEntry[] {
  return table.filter((entry) => entry.path !== path && isAtOrBelow(entry.path, path));
}

export function isAtOrBelow(path: string, ancestor: string): boolean {
  if (path === ancestor || ancestor === "/") return true;
  return path.startsWith(`${ancestor}/`);
}
