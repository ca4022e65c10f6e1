/**
 * From what the operator asked for to an instance that can be started: folders made real, the state
 * folder locked, what an earlier instance left assessed, pre-flight passed, the ring there. Changes
 * nothing that an error would have to undo.
 */
import { resolve } from "node:path";

import { StandinError } from "../base/errors.ts";
import { Ring } from "../journal/ring.ts";
import type { FileLock } from "../platform/file-lock.ts";
import {
  existsSync,
  fileIdentity,
  makePrivateFolder,
  realPath,
  removeTree,
} from "../platform/files.ts";
import { processorCount } from "../platform/machine.ts";
import { type InstanceRecord, newInstanceRecord } from "./instance-record.ts";
import type { LocalOptions } from "./local-options.ts";
import { realFolder } from "./real-folder.ts";
import { defaultWorkers, ringSizes } from "./ring-sizes.ts";
import {
  currentBootId,
  defaultStateDirectory,
  StateDirectory,
  sharedMemoryDirectory,
} from "./state-directory.ts";

export interface LocalPlaces {
  readonly state: StateDirectory;
  readonly lock: FileLock;
  readonly record: InstanceRecord;
  /** The record was there already: this instance ran before, on this boot of the machine. */
  readonly isKnown: boolean;
  /** REPLICA was missing and was made. */
  readonly hasMadeReplica: boolean;
}

/** @throws {StandinError} when the folders cannot be used, or the instance runs already. */
export function claimPlaces(options: LocalOptions): LocalPlaces {
  const source = realFolder(options.source, "SOURCE").path;
  const { replica, hasMadeReplica } = replicaFolder(options.replica);
  const state = StateDirectory.create(options.stateDirectory ?? defaultStateDirectory(source));
  const lock = state.tryLock();
  if (lock === undefined) throw alreadyRunning(state);
  const old = state.loadRecord();
  if (old !== undefined && (old.source !== source || old.replica !== replica)) {
    lock.release();
    throw otherFolders(state, old);
  }
  const bootId = currentBootId();
  const isKnown = old !== undefined && old.bootId === bootId;
  const workers = options.workers ?? defaultWorkers(processorCount());
  const fresh = newInstanceRecord({
    id: state.id,
    source,
    sourceInode: fileIdentity(source).inode,
    replica,
    shmDir: sharedMemoryDirectory(state.id),
    workers,
    bootId,
  });
  // Processes and memory of another boot are gone, but the copy is not.
  const carried = old === undefined ? fresh : { ...fresh, due: old.due };
  return { state, lock, record: isKnown ? old : carried, isKnown, hasMadeReplica };
}

/** Where a mount over `path` would be, told without asking the folder itself. */
export function mountPoint(path: string): string {
  const { parent, name } = splitPath(path);
  try {
    return realPath(parent) === "/" ? `/${name}` : `${realPath(parent)}/${name}`;
  } catch {
    return path; // there is nothing, and so no mount
  }
}

function splitPath(path: string): { absolute: string; parent: string; name: string } {
  const absolute = resolve(path);
  const at = absolute.lastIndexOf("/");
  return { absolute, parent: absolute.slice(0, at) || "/", name: absolute.slice(at + 1) };
}

/**
 * Made when it is missing; the folder that is to hold it must exist, so that a typing error is
 * found.
 */
function replicaFolder(path: string): { replica: string; hasMadeReplica: boolean } {
  const { absolute, parent } = splitPath(path);
  if (!existsSync(parent)) {
    throw new StandinError("NO_REPLICA", `there is no folder ${parent} to hold REPLICA`, {
      hint: `Make it first: mkdir -p ${parent}`,
    });
  }
  const hasMadeReplica = !existsSync(absolute);
  if (hasMadeReplica) makePrivateFolder(absolute);
  return { replica: realFolder(absolute, "REPLICA").path, hasMadeReplica };
}

function alreadyRunning(state: StateDirectory): StandinError {
  const pid = state.loadRecord()?.agent?.pid;
  const who = pid === undefined ? "" : ` (pid ${pid})`;
  return new StandinError("ALREADY_RUNNING", `this instance is already running${who}`, {
    hint: `Look at it with standin status --state ${state.path}`,
  });
}

function otherFolders(state: StateDirectory, old: InstanceRecord): StandinError {
  return new StandinError(
    "OTHER_FOLDERS",
    `${state.path} belongs to an instance that copies ${old.source} to ${old.replica}`,
    { hint: "Choose another state folder with --state, or name those folders." },
  );
}

/** The ring that earlier processes left, with what is not applied yet, or a new one. */
export function openRing(
  record: InstanceRecord,
  ringBytes: number,
  isKnown: boolean,
): { readonly ring: Ring; readonly isNew: boolean } {
  const path = `${record.shmDir}/ring`;
  if (isKnown && existsSync(path)) {
    const ring = tryOpenRing(path);
    if (ring !== undefined && ring.layout.arenas === record.workers + 1) {
      return { ring, isNew: false };
    }
  }
  const sizes = ringSizes(ringBytes, record.workers); // refuses before there is anything to undo
  removeTree(record.shmDir);
  makePrivateFolder(record.shmDir);
  return { ring: Ring.create(path, sizes), isNew: true };
}

function tryOpenRing(path: string): Ring | undefined {
  try {
    return Ring.open(path);
  } catch {
    return undefined; // of another version, or cut: its writer died while it was made
  }
}
