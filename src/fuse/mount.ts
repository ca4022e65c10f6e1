/** Mounting and unmounting a FUSE connection, and the ways out of one that nobody serves. */
import { closeSync, fstatSync, openSync, readFileSync, writeFileSync } from "node:fs";
import {
  fcntl,
  F_SETFD,
  MNT_DETACH,
  mount,
  MS_NODEV,
  MS_NOSUID,
  umount2,
} from "../platform/libc.ts";
import { MountError } from "./mount-error.ts";

export interface MountOptions {
  /** Shown as the device in /proc/mounts. */
  readonly name: string;
  /** Type becomes `fuse.<subtype>`. */
  readonly subtype: string;
  /** `st_mode` of the directory that is mounted over. */
  readonly rootMode: number;
  /** Whether set-user-ID bits and devices act as on the file system beneath. */
  readonly nosuid: boolean;
  readonly nodev: boolean;
}

/**
 * Opens a new FUSE connection. @throws {MountError} when the kernel has no FUSE or it may not be
 * used.
 */
export function openFuseDevice(): number {
  try {
    const fd = openSync("/dev/fuse", "r+");
    // Inherited by the processes that serve the connection.
    fcntl(fd, F_SETFD, 0);
    return fd;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const hint =
      code === "ENOENT"
        ? "load the kernel module (modprobe fuse); in a container pass --device /dev/fuse"
        : "run as root, or give the container CAP_SYS_ADMIN and the device /dev/fuse";
    throw new MountError(`open /dev/fuse: ${code ?? String(error)}`, hint);
  }
}

/**
 * Mounts the connection `fd` on `path`. The kernel's INIT request waits in the connection from here
 * on. Permission checks stay with the kernel (`default_permissions`), for all users
 * (`allow_other`).
 */
export function mountFuse(fd: number, path: string, options: MountOptions): void {
  const data = [
    `fd=${fd}`,
    `rootmode=${options.rootMode.toString(8)}`,
    "user_id=0",
    "group_id=0",
    "default_permissions",
    "allow_other",
  ].join(",");
  const flags = (options.nosuid ? MS_NOSUID : 0) | (options.nodev ? MS_NODEV : 0);
  const result = mount(options.name, path, `fuse.${options.subtype}`, flags, data);
  if (result < 0) {
    throw new MountError(
      `mount on ${path}: errno ${-result}`,
      "mounting needs root (CAP_SYS_ADMIN) and an existing directory",
    );
  }
}

/**
 * Takes the mount away. `lazy`: at once for new users, later for those who still use it. Returns 0
 * or `-errno`.
 */
export function unmountFuse(path: string, options: { lazy: boolean }): number {
  return umount2(path, options.lazy ? MNT_DETACH : 0);
}

/**
 * Major and minor number of the file system mounted at `path` (the topmost), or undefined when none
 * is.
 */
export function mountedDevice(path: string): { major: number; minor: number } | undefined {
  const escaped = path.replace(
    /[\\ \t\n]/g,
    (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}`,
  );
  let found: { major: number; minor: number } | undefined;
  for (const line of readFileSync("/proc/self/mountinfo", "latin1").split("\n")) {
    const fields = line.split(" ");
    if (fields[4] !== Buffer.from(escaped).toString("latin1")) continue;
    const [major, minor] = (fields[2] ?? "").split(":").map(Number);
    if (major !== undefined && minor !== undefined) found = { major, minor };
  }
  return found;
}

/**
 * Ends a connection that nobody answers: every waiting user gets an error and the mount can be
 * taken away. The last way out; what was in flight is lost to the applications.
 */
export function abortFuseConnection(minor: number): void {
  writeFileSync(`/sys/fs/fuse/connections/${minor}/abort`, "1");
}

/**
 * Reads beyond what the kernel reads ahead by itself: fewer, larger requests for sequential
 * readers. Best effort: sysfs may be read-only in a container.
 */
export function setReadAhead(minor: number, kibibytes: number): boolean {
  try {
    writeFileSync(`/sys/class/bdi/0:${minor}/read_ahead_kb`, String(kibibytes));
    return true;
  } catch {
    return false;
  }
}

/**
 * Opens the directory that will be mounted over: the way to the files beneath while the mount is
 * there.
 */
export function openBeneath(path: string): { fd: number; mode: number; ino: number } {
  const fd = openSync(path, "r");
  fcntl(fd, F_SETFD, 0);
  const status = fstatSync(fd);
  if (!status.isDirectory()) {
    closeSync(fd);
    throw new MountError(`${path} is not a directory`, "name a directory to protect");
  }
  return { fd, mode: status.mode, ino: status.ino };
}
