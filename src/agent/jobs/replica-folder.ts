/** Where a target puts the replica of a new job. */
import { StandinError } from "../../base/errors.ts";
import { fileIdentity, listNames } from "../../platform/files.ts";
import { isAtOrBelow } from "../../platform/mount-table.ts";

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

/** Of a folder that may be missing. */
export function namesIn(path: string): string[] {
  try {
    return fileIdentity(path).isDirectory ? listNames(path) : ["(a file)"];
  } catch {
    return [];
  }
}
