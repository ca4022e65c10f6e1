/**
 * Where the replica keeps what is not part of the data: nodes without a name, removed directories
 * on their way out, orphans that were moved aside. It must be on the replica's own file system,
 * because things get there and back by rename: beside the replica's root as `.<name>.standin` if
 * that is the same file system, else in the root as `.standin`, which then is hidden from mirror
 * and verify.
 *
 *     nameless/   nodes that the source has without a name, or whose place is not known yet
 *     trash/      removed directories, deleted bit by bit
 *     aside/      orphans that were found on the replica, one folder for each pass
 */
import { StandinError } from "../base/errors.ts";
import { EEXIST } from "../platform/errno.ts";
import { AT_FDCWD, close, cString, mkdirat, openat } from "../platform/libc.ts";
import { O_CLOEXEC, O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from "../platform/libc.ts";
import { openRoot } from "../platform/replica-files.ts";
import { Statx } from "../platform/statx.ts";

export const INSIDE_NAME = ".standin";

/** The replica's folder or its private area cannot be used. */
export class ReplicaRootError extends StandinError {
  override readonly name = "ReplicaRootError";

  constructor(path: string, errno: number) {
    super("REPLICA_ROOT", `${path} cannot be used as a replica (errno ${errno})`, {
      hint: `Create the folder ${path}, and see that it is writable and on a mounted file system.`,
    });
  }
}

export interface ReplicaRoot {
  readonly path: string;
  readonly rootFd: number;
  readonly areaPath: string;
  /** The area lies inside the root, as {@link INSIDE_NAME}. */
  readonly isInside: boolean;
  readonly namelessFd: number;
  readonly trashFd: number;
  readonly asideFd: number;
}

/** @throws {ReplicaRootError} */
export function openReplicaRoot(path: string): ReplicaRoot {
  const rootFd = openRoot(path);
  if (rootFd < 0) throw new ReplicaRootError(path, -rootFd);
  const beside = areaBeside(path);
  const isInside = beside === undefined || !isOnSameFileSystem(rootFd, beside.parent);
  const areaPath = isInside ? `${path}/${INSIDE_NAME}` : beside.area;
  const areaFd = makeFolder(AT_FDCWD, areaPath);
  if (areaFd < 0) throw new ReplicaRootError(areaPath, -areaFd);
  const root = {
    path,
    rootFd,
    areaPath,
    isInside,
    namelessFd: makeFolder(areaFd, "nameless"),
    trashFd: makeFolder(areaFd, "trash"),
    asideFd: makeFolder(areaFd, "aside"),
  };
  for (const fd of [root.namelessFd, root.trashFd, root.asideFd]) {
    if (fd < 0) throw new ReplicaRootError(areaPath, -fd);
  }
  close(areaFd);
  return root;
}

function areaBeside(path: string): { parent: string; area: string } | undefined {
  const clean = path.replace(/\/+$/, "");
  const cut = clean.lastIndexOf("/");
  const name = clean.slice(cut + 1);
  if (cut === -1 || name === "") return undefined;
  const parent = cut === 0 ? "/" : clean.slice(0, cut);
  return { parent, area: `${clean.slice(0, cut)}/.${name}.standin` };
}

function isOnSameFileSystem(rootFd: number, parent: string): boolean {
  const parentFd = openRoot(parent);
  if (parentFd < 0) return false;
  const root = new Statx();
  const other = new Statx();
  const same =
    root.of(rootFd) === 0 &&
    other.of(parentFd) === 0 &&
    root.devMajor === other.devMajor &&
    root.devMinor === other.devMinor &&
    root.ino !== other.ino;
  close(parentFd);
  return same;
}

/**
 * Makes the folder, which only root may enter, unless it is there; returns a descriptor or
 * `-errno`.
 */
export function makeFolder(dir: number, name: string): number {
  const path = cString(name);
  const made = mkdirat(dir, path, 0o700);
  if (made < 0 && made !== -EEXIST) return made;
  return openat(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}
