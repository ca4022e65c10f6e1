/** Where a target puts the replica of a new job. */
import { StandinError } from "../../base/errors.ts";
import { fileIdentity, listNames } from "../../platform/files.ts";
import { isAtOrBelow, type MountEntry, mountHolding } from "../../platform/mount-table.ts";

/**
 * The folder that the source asked for, if this server can give it; else one in the job's own
 * folder. @throws {StandinError} `REPLICA_PATH`, `REPLICA_IN_USE`, `REPLICA_NOT_EMPTY`
 */
export function chooseReplicaFolder(
  wanted: unknown,
  job: string,
  home: string,
  taken: readonly { readonly name: string; readonly replica: string }[],
): string {
  if (typeof wanted !== "string") return `${home}/data`;
  if (!wanted.startsWith("/") || wanted.split("/").includes("..")) {
    throw new StandinError("REPLICA_PATH", `the replica's folder is not absolute: ${wanted}`, {
      hint: "Give an absolute path with --replica.",
    });
  }
  for (const { name, replica } of taken) {
    if (!isAtOrBelow(wanted, replica) && !isAtOrBelow(replica, wanted)) continue;
    throw new StandinError("REPLICA_IN_USE", `${wanted} holds the replica of ${name}`, {
      hint: `Choose another folder for job ${job} with --replica.`,
    });
  }
  const [found] = namesIn(wanted);
  if (found === undefined) return wanted;
  throw new StandinError("REPLICA_NOT_EMPTY", `${wanted} is not empty: ${found}`, {
    hint: "Name a folder of its own with --replica; what is there would be moved aside.",
  });
}

/**
 * A captured folder takes what the applier writes, but cannot tell it to write its file system out
 * (syncfs), so that a power cut would take what was acknowledged. @throws {StandinError}
 * `REPLICA_PROTECTED`
 */
export function refuseCaptured(replica: string, table: readonly MountEntry[]): void {
  const mount = mountHolding(table, replica);
  if (mount?.type !== "fuse.standin") return;
  throw new StandinError(
    "REPLICA_PROTECTED",
    `${replica} lies in ${mount.path}, which is protected`,
    {
      hint: "Choose a folder that no job protects with --replica: a replica cannot be sent on.",
    },
  );
}

/** Of a folder that may be missing. */
export function namesIn(path: string): string[] {
  try {
    return fileIdentity(path).isDirectory ? listNames(path) : ["(a file)"];
  } catch {
    return [];
  }
}
