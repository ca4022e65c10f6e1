/**
 * Gets things out of the way on the replica: what somebody put there, what was left of an older
 * replica, removed directories with all that they hold. Directories go by one rename into the trash
 * and are deleted bit by bit later.
 */
import { EEXIST, EISDIR, ENOENT, ENOTEMPTY } from "../platform/errno.ts";
import {
  AT_REMOVEDIR,
  close,
  cString,
  O_CLOEXEC,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  openat,
  RENAME_NOREPLACE,
  renameat2,
  unlinkat,
} from "../platform/libc.ts";
import { getInodeFlags, readDirectory, setInodeFlags } from "../platform/replica-files.ts";
import { Statx } from "../platform/statx.ts";
import { TYPE_DIRECTORY } from "../model/node-tree.ts";
import { makeFolder, type ReplicaRoot } from "./private-area.ts";
import { PROTECTING_FLAGS } from "./replica.ts";

/** What to do with what the source does not have. */
export type OrphanPolicy = "keep" | "aside" | "delete";

/** Names that one step of emptying the trash removes at most. */
const TRASH_STEP = 200;

export class Disposal {
  policy: OrphanPolicy;
  /** Name of the folder that things are moved to. */
  asideName = "live";
  #next = 0;
  readonly #status = new Statx();

  constructor(policy: OrphanPolicy) {
    this.policy = policy;
  }

  /**
   * Makes the place free, by the policy where there is a choice: who needs the place cannot keep
   * what is there. `path`: for the name of what is moved aside. Returns 1 when something was there,
   * 0 when not, or `-errno`.
   */
  clear(root: ReplicaRoot, dir: number, name: Uint8Array, path: Uint8Array): number {
    const found = this.#status.at(dir, name);
    if (found === -ENOENT) return 0;
    if (found < 0) return found;
    const result =
      this.policy === "delete"
        ? this.remove(root, dir, name)
        : this.#moveAside(root, dir, name, path);
    return result < 0 ? result : 1;
  }

  /** An orphan that is in nobody's way. Returns true when it was moved or removed. */
  orphan(root: ReplicaRoot, dir: number, name: Uint8Array, path: Uint8Array): boolean {
    return this.policy !== "keep" && this.clear(root, dir, name, path) === 1;
  }

  /** Removes the entry for good; a directory with all that is in it. Returns 0 or `-errno`. */
  remove(root: ReplicaRoot, dir: number, name: Uint8Array): number {
    let result = unlinkat(dir, name, 0);
    if (result === -EISDIR) result = unlinkat(dir, name, AT_REMOVEDIR);
    if (result === 0 || result === -ENOENT) return 0;
    if (result !== -ENOTEMPTY) {
      if (!unprotect(dir, name)) return result;
      return this.remove(root, dir, name);
    }
    return this.#moveTo(root.trashFd, dir, name, "");
  }

  #moveAside(root: ReplicaRoot, dir: number, name: Uint8Array, path: Uint8Array): number {
    const folder = makeFolder(root.asideFd, this.asideName);
    if (folder < 0) return folder;
    const flat = Buffer.from(path).toString("latin1").replaceAll("%", "%25").replaceAll("/", "%2F");
    const result = this.#moveTo(folder, dir, name, `-${flat.slice(-200)}`);
    close(folder);
    return result;
  }

  #moveTo(folder: number, dir: number, name: Uint8Array, suffix: string): number {
    for (let attempts = 0; ; attempts++) {
      this.#next += 1;
      const target = cString(Buffer.from(`${this.#next}${suffix}`, "latin1"));
      const result = renameat2(dir, name, folder, target, RENAME_NOREPLACE);
      if (result === -EEXIST) continue;
      if (result >= 0 || attempts > 0 || !unprotect(dir, name)) return result;
    }
  }

  /**
   * Deletes some of what is in the trash. Returns false when the trash is empty, or cannot be
   * emptied.
   */
  emptySome(root: ReplicaRoot): boolean {
    const budget = { left: TRASH_STEP, failed: false };
    this.#emptyDirectory(root.trashFd, budget, 0);
    return budget.left <= 0 && !budget.failed;
  }

  #emptyDirectory(fd: number, budget: { left: number; failed: boolean }, depth: number): void {
    const entries: { name: Uint8Array; type: number }[] = [];
    readDirectory(fd, (entry) => {
      if (entries.length < budget.left) entries.push({ name: entry.name, type: entry.type });
    });
    for (const { name, type } of entries) {
      if (budget.left <= 0) return;
      const nameZ = cString(name);
      if (type === TYPE_DIRECTORY && depth < DEPTH_MAX) {
        const below = openat(fd, nameZ, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below >= 0) {
          this.#emptyDirectory(below, budget, depth + 1);
          close(below);
        }
      }
      if (budget.left <= 0) return;
      this.#removeOne(fd, nameZ, budget);
      budget.left -= 1;
    }
  }

  #removeOne(fd: number, name: Uint8Array, budget: { failed: boolean }): void {
    for (let attempt = 0; attempt < 2; attempt++) {
      let result = unlinkat(fd, name, 0);
      if (result === -EISDIR) result = unlinkat(fd, name, AT_REMOVEDIR);
      if (result >= 0 || result === -ENOENT) return;
      if (result === -ENOTEMPTY || !unprotect(fd, name)) break;
    }
    budget.failed = true;
  }
}

/** Recursion holds a descriptor a level; deeper trees are rare and stay in the trash. */
const DEPTH_MAX = 500;

/**
 * Takes immutable and append-only off the entry and its directory. True when one of them had them.
 */
export function unprotect(dir: number, name: Uint8Array): boolean {
  const entry = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  let changed = takeOff(dir);
  if (entry >= 0) {
    changed = takeOff(entry) || changed;
    close(entry);
  }
  return changed;
}

function takeOff(fd: number): boolean {
  const flags = getInodeFlags(fd);
  if (flags < 0 || (flags & PROTECTING_FLAGS) === 0) return false;
  return setInodeFlags(fd, flags & ~PROTECTING_FLAGS) >= 0;
}
