/** Where promoted replicas are shown, so that applications find them under the paths they know. */
import { StandinError } from "../../base/errors.ts";
import { bindMount } from "../../platform/bind-mount.ts";
import { fileIdentity, makeFolder } from "../../platform/files.ts";
import { namesIn } from "./replica-folder.ts";
import { isAtOrBelow, mountHolding, readMountTable } from "../../platform/mount-table.ts";
import type { StreamMount } from "../../protocol/stream-messages.ts";

/**
 * Where each of the job's folders goes, in their order, by what the operator said with --at: a
 * folder for the only one, or one that holds a folder for each (named as in the replica), or
 * `OLD=NEW` for some. Those of which nothing is said go where they were on the source.
 * @throws {StandinError} `PROMOTE_PATH`
 */
export function promotionPaths(
  mounts: readonly Pick<StreamMount, "path" | "folder">[],
  at: readonly string[],
): string[] {
  const moved = new Map<string, string>();
  const others: string[] = [];
  for (const given of at) {
    const mount = mounts.find(({ path }) => given.startsWith(`${path}=`));
    if (mount === undefined) others.push(given);
    else moved.set(mount.path, withoutSlash(given.slice(mount.path.length + 1)));
  }
  const [whole, second] = others;
  if (whole === undefined) return mounts.map(({ path }) => moved.get(path) ?? path);
  if (second === undefined && moved.size === 0) {
    const base = withoutSlash(whole);
    return mounts.map(({ folder }) => (mounts.length === 1 ? base : `${base}/${folder}`));
  }
  const paths = mounts.map(({ path }) => path).join(", ");
  throw new StandinError("PROMOTE_PATH", `which folder goes to ${second ?? whole} is not said`, {
    hint: `Give --at OLD=NEW; the folders of the job are ${paths}.`,
  });
}

function withoutSlash(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, "") : path;
}

/**
 * Whether the replicas can be put at the paths. Changes nothing.
 * @throws {StandinError} `PROMOTE_PATH`
 */
export function checkPromotionPaths(paths: readonly string[]): void {
  for (const path of paths) checkPromotionPath(path);
  for (const [i, path] of paths.entries()) {
    const other = paths.find((each, j) => j !== i && isAtOrBelow(each, path));
    if (other === undefined) continue;
    throw new StandinError("PROMOTE_PATH", `${other} would lie in ${path}`, {
      hint: "Put the folders apart from each other with --at OLD=NEW.",
    });
  }
}

/** An empty folder, or none. */
function checkPromotionPath(path: string): void {
  if (!path.startsWith("/") || path.split("/").includes("..")) {
    throw new StandinError("PROMOTE_PATH", `${path} is no absolute path`, {
      hint: "Give one with --at PATH.",
    });
  }
  if (mountHolding(readMountTable(), path)?.path === path) {
    throw new StandinError("PROMOTE_PATH", `something is mounted at ${path}`, {
      hint: "Unmount it, or put the replica elsewhere with --at PATH.",
    });
  }
  const names = namesIn(path);
  if (names.length === 0) return;
  throw new StandinError("PROMOTE_PATH", `${path} is not empty: ${names.slice(0, 3).join(", ")}`, {
    hint: "Move what is there away, or put the replica elsewhere with --at PATH.",
  });
}

/** Shows the replica's folder at `path`, unless it is there already. */
export function putReplicaAt(replica: string, path: string): void {
  if (isSameFolder(replica, path)) return;
  makeFolder(path);
  bindMount(replica, path);
}

function isSameFolder(a: string, b: string): boolean {
  try {
    const [one, other] = [fileIdentity(a), fileIdentity(b)];
    return one.inode === other.inode && one.device === other.device;
  } catch {
    return false;
  }
}
