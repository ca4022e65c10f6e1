/** Where a promoted replica is shown, so that applications find it under the path they know. */
import { StandinError } from "../../base/errors.ts";
import { bindMount } from "../../platform/bind-mount.ts";
import { fileIdentity, makeFolder } from "../../platform/files.ts";
import { namesIn } from "./replica-folder.ts";
import { mountHolding, readMountTable } from "../../platform/mount-table.ts";

/**
 * Whether the replica can be put at `path`: an empty folder, or none. Changes nothing.
 * @throws {StandinError} `PROMOTE_PATH`
 */
export function checkPromotionPath(path: string): void {
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
