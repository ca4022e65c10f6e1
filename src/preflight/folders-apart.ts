import { isAtOrBelow } from "../platform/mount-table.ts";
import type { Check, Finding, Surroundings } from "./check.ts";

export const foldersApartCheck: Check = {
  id: "folders-apart",
  reads: "the real paths, and device and inode of the folders and of those above them",
  run({ source, replica }, surroundings): Finding[] {
    if (isSame(source, replica, surroundings)) {
      return [refusal("SAME_FOLDER", "SOURCE and REPLICA are the same folder")];
    }
    if (isInside(replica, source, surroundings)) {
      return [refusal("REPLICA_INSIDE", `REPLICA lies inside SOURCE: ${replica}`)];
    }
    if (isInside(source, replica, surroundings)) {
      return [refusal("SOURCE_INSIDE", `SOURCE lies inside REPLICA: ${source}`)];
    }
    return [];
  },
};

/** One of the folders is the other, or lies in it, by path or by bind mounts. */
export function overlap(
  a: string,
  b: string,
  surroundings: Pick<Surroundings, "identity">,
): boolean {
  return isSame(a, b, surroundings) || isInside(a, b, surroundings) || isInside(b, a, surroundings);
}

function refusal(code: string, message: string): Finding {
  return {
    level: "error",
    code,
    message,
    hint: "Choose a folder for the copy outside the source.",
  };
}

function isSame(a: string, b: string, { identity }: Pick<Surroundings, "identity">): boolean {
  const [first, second] = [identity(a), identity(b)];
  if (first === undefined || second === undefined) return a === b;
  return first.device === second.device && first.inode === second.inode;
}

/**
 * By path, and by the folders above `path` themselves: a bind mount shows one folder at two paths.
 */
function isInside(
  path: string,
  folder: string,
  surroundings: Pick<Surroundings, "identity">,
): boolean {
  if (isAtOrBelow(path, folder)) return true;
  for (let above = parentOf(path); above !== undefined; above = parentOf(above)) {
    if (isSame(above, folder, surroundings)) return true;
  }
  return false;
}

function parentOf(path: string): string | undefined {
  if (path === "/") return undefined;
  return path.slice(0, path.lastIndexOf("/")) || "/";
}
