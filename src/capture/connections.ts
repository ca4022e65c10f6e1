/**
 * The FUSE connections of a job and the folders beneath them: made by mounting, or taken over from
 * an engine that still serves them after its keeper was killed.
 */
import {
  mountedDevice,
  mountFuse,
  openBeneath,
  openFuseDevice,
  setReadAhead,
  unmountFuse,
} from "../fuse/mount.ts";
import type { Clock } from "../platform/clock.ts";
import {
  close,
  F_SETFD,
  FD_CLOEXEC,
  fcntl,
  pidfdGetfd,
  pidfdOpen,
  S_IFDIR,
} from "../platform/libc.ts";
import { readMountTable } from "../platform/mount-table.ts";
import { isAlive, type ProcessIdentity, sendSignal } from "../platform/processes.ts";
import { engineDescriptors } from "./engine-config.ts";
import type { KeeperMount } from "./keeper-config.ts";

export interface Connection {
  readonly mount: KeeperMount;
  readonly fuseFd: number;
  readonly rootFd: number;
}

/** Shown in /proc/mounts as `fuse.standin`, by which pre-flight knows our mounts. */
const SUBTYPE = "standin";

const READ_AHEAD_KIB = 1024;

/** All or none: when one folder cannot be mounted, those before it are unmounted again. */
export function mountAll(mounts: readonly KeeperMount[]): Connection[] {
  const connections: Connection[] = [];
  try {
    for (const mount of mounts) connections.push(mountOne(mount));
  } catch (error) {
    for (const { mount } of connections) unmountFuse(mount.path, { lazy: true });
    throw error;
  }
  return connections;
}

/** @throws {MountError} */
export function mountOne(mount: KeeperMount): Connection {
  const beneath = openBeneath(mount.path);
  const fuseFd = openFuseDevice();
  // Only the engine gets them, at the numbers of its stdio; not at these numbers as well.
  fcntl(beneath.fd, F_SETFD, FD_CLOEXEC);
  fcntl(fuseFd, F_SETFD, FD_CLOEXEC);
  mountOn(mount, fuseFd, beneath.mode);
  const device = mountedDevice(mount.path);
  if (device !== undefined) setReadAhead(device.minor, READ_AHEAD_KIB);
  return { mount, fuseFd, rootFd: beneath.fd };
}

function mountOn({ path, nosuid, nodev }: KeeperMount, fuseFd: number, rootMode: number): void {
  mountFuse(fuseFd, path, { name: path, subtype: SUBTYPE, rootMode, nosuid, nodev });
}

/** How a connection was found at its place. */
export type Found =
  | "mounted"
  /** It had been unmounted, and is back. */
  | "remounted"
  /** Nobody uses it any more: it has ended. */
  | "ended";

/**
 * Puts a connection that is still in use back over its folder, where somebody unmounted it: the
 * kernel shows one connection at a place as often as it is mounted there.
 */
export function mountAgain({ mount, fuseFd }: Connection): Found {
  const isThere = readMountTable().some(({ path, type }) => {
    return path === mount.path && type === `fuse.${SUBTYPE}`;
  });
  if (isThere) return "mounted";
  try {
    mountOn(mount, fuseFd, S_IFDIR);
    return "remounted";
  } catch {
    return "ended";
  }
}

/** The connections could not be taken from the engine: it is gone, and they with it. */
export class AdoptError extends Error {
  override readonly name = "AdoptError";
}

/** Takes copies of the descriptors of an engine that still serves. @throws {AdoptError} */
export function takeAll(mounts: readonly KeeperMount[], engine: ProcessIdentity): Connection[] {
  const pidfd = pidfdOpen(engine.pid);
  // The pid may be a stranger's by now; the start time proves that it was not when the pidfd was
  // made.
  if (pidfd < 0 || !isAlive(engine)) throw new AdoptError(`engine ${engine.pid} is gone`);
  try {
    return mounts.map((mount, position) => takeOne(mount, position, pidfd));
  } finally {
    close(pidfd);
  }
}

function takeOne(mount: KeeperMount, position: number, pidfd: number): Connection {
  const theirs = engineDescriptors(position);
  return {
    mount,
    fuseFd: takeDescriptor(pidfd, theirs.fuseFd),
    rootFd: takeDescriptor(pidfd, theirs.rootFd),
  };
}

function takeDescriptor(pidfd: number, theirFd: number): number {
  const fd = pidfdGetfd(pidfd, theirFd);
  if (fd < 0) throw new AdoptError(`take descriptor ${theirFd} of the engine: errno ${-fd}`);
  return fd;
}

/** Gives the descriptors of a connection back that has ended. */
export function closeEnded({ fuseFd, rootFd }: Connection): void {
  close(fuseFd);
  close(rootFd);
}

const END_TIMEOUT_MS = 10_000;

/**
 * Kills an engine that was adopted, before another serves: two engines must never answer for one
 * connection with one table of nodes. @throws {AdoptError} when it does not end.
 */
export async function endEngine(engine: ProcessIdentity, clock: Clock): Promise<void> {
  sendSignal(engine, "SIGKILL");
  const deadline = clock.monotonicMs() + END_TIMEOUT_MS;
  while (isAlive(engine)) {
    if (clock.monotonicMs() > deadline) throw new AdoptError(`engine ${engine.pid} does not end`);
    await clock.sleep(2);
  }
}
