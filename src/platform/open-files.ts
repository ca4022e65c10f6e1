/**
 * Which processes have which files open, from /proc. Files are matched by the mount's id, which the
 * kernel shows in fdinfo, and by path; nothing is asked of the file systems themselves, which may
 * be the ones that hang.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { commandName, listPids } from "./processes.ts";

export interface OpenFile {
  readonly pid: number;
  readonly command: string;
  readonly path: string;
  readonly mountId: number;
  /** `O_*` flags of open(2). */
  readonly flags: number;
}

export interface MappedFile {
  readonly pid: number;
  readonly command: string;
  readonly path: string;
  /** `major:minor`, in decimal as in mountinfo. */
  readonly device: string;
}

/** Open descriptors of every process that may be looked at, except our own. */
export function* openFiles(): Generator<OpenFile> {
  for (const pid of listPids()) {
    if (pid === process.pid) continue;
    const command = commandName(pid);
    for (const fd of namesIn(`/proc/${pid}/fd`)) {
      const path = linkOf(`/proc/${pid}/fd/${fd}`);
      if (path === undefined || !path.startsWith("/")) continue;
      const info = textOf(`/proc/${pid}/fdinfo/${fd}`);
      yield {
        pid,
        command,
        path,
        mountId: Number(/^mnt_id:\s*(\d+)/m.exec(info)?.[1] ?? -1),
        flags: Number.parseInt(/^flags:\s*([0-7]+)/m.exec(info)?.[1] ?? "0", 8),
      };
    }
  }
}

/** Files that a process has mapped shared and may write to through memory. */
export function* sharedWritableMaps(): Generator<MappedFile> {
  for (const pid of listPids()) {
    if (pid === process.pid) continue;
    for (const line of textOf(`/proc/${pid}/maps`).split("\n")) {
      const match = /^\S+ .w.s \S+ ([0-9a-f]+):([0-9a-f]+) \d+\s+(\/.*)$/.exec(line);
      if (match === null) continue;
      const [, major, minor, path] = match;
      const device = `${Number.parseInt(major!, 16)}:${Number.parseInt(minor!, 16)}`;
      yield { pid, command: commandName(pid), path: path!, device };
    }
  }
}

export interface MountUser {
  readonly pid: number;
  readonly command: string;
  readonly path: string;
}

/**
 * Processes that keep a mount busy: by open files, or by their working or root directory. At most
 * `limit`.
 */
export function usersOfMount(mountId: number | undefined, limit = 20): MountUser[] {
  const users = new Map<number, MountUser>();
  for (const { pid, command, path, mountId: id } of openFiles()) {
    if (id !== mountId || users.has(pid)) continue;
    users.set(pid, { pid, command, path });
    if (users.size >= limit) break;
  }
  return [...users.values()];
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // the process is gone, or may not be looked at
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}
