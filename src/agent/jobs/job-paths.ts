/** The paths of a job: how their replicas' folders are called, and what may be protected at all. */
import { StandinError } from "../../base/errors.ts";
import { overlap } from "../../preflight/folders-apart.ts";
import type { Surroundings } from "../../preflight/check.ts";

/** What a name may have without becoming unclear in a shell. */
const UNCLEAR = /[^A-Za-z0-9._-]/g;
const NAME_LENGTH_MAX = 63;

/**
 * Names of the folders that hold the replicas, in the order of `paths`. One path: `0`. Several:
 * the last part of each path, with a number behind it when an earlier one has the name already.
 */
export function replicaFolders(paths: readonly string[]): string[] {
  if (paths.length === 1) return ["0"];
  const taken = new Set<string>();
  return paths.map((path) => {
    const base = clearName(path);
    let name = base;
    for (let n = 2; taken.has(name); n++) name = `${base}-${n}`;
    taken.add(name);
    return name;
  });
}

function clearName(path: string): string {
  const last = path.slice(path.lastIndexOf("/") + 1);
  const name = last.replaceAll(UNCLEAR, "-").replace(/^[^A-Za-z0-9]+/, "");
  return name === "" ? "folder" : name.slice(0, NAME_LENGTH_MAX);
}

/** What another job of this server protects, whether it runs at the moment or not. */
export interface OtherJob {
  readonly name: string;
  readonly mounts: readonly { readonly path: string }[];
}

/** @throws {StandinError} `ALREADY_PROTECTED` */
export function refuseOverlaps(
  paths: readonly string[],
  jobs: readonly OtherJob[],
  surroundings: Pick<Surroundings, "identity">,
): void {
  for (const { name, mounts } of jobs) {
    for (const mount of mounts) {
      const path = paths.find((each) => overlap(each, mount.path, surroundings));
      if (path === undefined) continue;
      const message = `${path} is already protected: ${mount.path} is, by job ${name}`;
      throw new StandinError("ALREADY_PROTECTED", message, {
        hint: `A folder belongs to one job. End that one first: standin unprotect ${name}.`,
      });
    }
  }
}

/** A replica that this server receives, and that was not promoted. */
export interface ReceivedReplica {
  readonly name: string;
  readonly replica: string;
}

/**
 * What the applier writes goes to the files themselves, beneath any mount, so that nothing would be
 * captured of it: docs/decisions/0006-chained-targets.md. @throws {StandinError} `REPLICA_CHAIN`
 */
export function refuseReplicas(
  paths: readonly string[],
  received: readonly ReceivedReplica[],
  surroundings: Pick<Surroundings, "identity">,
): void {
  for (const path of paths) {
    const found = received.find(({ replica }) => overlap(path, replica, surroundings));
    if (found === undefined) continue;
    const { name, replica } = found;
    throw new StandinError(
      "REPLICA_CHAIN",
      `${path} holds the replica of ${name} (${replica}): a replica cannot be sent on`,
      {
        hint: `Protect ${name} with --to A/B, at its source: A sends on to B what it gets.`,
      },
    );
  }
}

/** @throws {StandinError} as {@link refuseOverlaps} and {@link refuseReplicas} */
export function refuseTaken(
  paths: readonly string[],
  jobs: readonly OtherJob[],
  received: readonly ReceivedReplica[],
  surroundings: Pick<Surroundings, "identity">,
): void {
  refuseOverlaps(paths, jobs, surroundings);
  refuseReplicas(paths, received, surroundings);
}
