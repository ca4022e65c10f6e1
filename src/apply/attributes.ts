/** Attributes of the replica's nodes: mode, owner, extended attributes, inode flags. */
import { ENODATA } from "../platform/errno.ts";
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  cString,
  EMPTY_PATH,
  fchmod,
  fchmodat,
  fchownat,
  fremovexattr,
  fsetxattr,
  removexattr,
  setxattr,
} from "../platform/libc.ts";
import {
  getInodeFlags,
  INODE_FLAGS_MASK,
  procPath,
  setInodeFlags,
  setProjectId,
  setTimes,
  setTimesAt,
  type Time,
  xattrNames,
  xattrValue,
} from "../platform/replica-files.ts";
import { equalBytes } from "../base/bytes.ts";
import type { Xattr } from "../model/mirror-record.ts";
import type { Opened } from "./replica.ts";

export const TYPE_MASK = 0o170000;
const SYMLINK = 0o120000;
export const PERMISSIONS = 0o7777;
const CAPABILITY_NAME: Uint8Array = Buffer.from("security.capability");
const ACL_PREFIX = Buffer.from("system.posix_acl_");
const ACL_ACCESS: Uint8Array = cString("system.posix_acl_access");
export const ACL_DEFAULT: Uint8Array = cString("system.posix_acl_default");

/** Of any type but a symlink, which has no mode of its own. */
export function setMode(opened: Opened, mode: number): number {
  if ((mode & TYPE_MASK) === SYMLINK) return 0;
  const bits = mode & PERMISSIONS;
  if (opened.isPathOnly) return fchmodat(AT_FDCWD, procPath(opened.fd), bits);
  return fchmod(opened.fd, bits);
}

export function setOwner(opened: Opened, uid: number, gid: number): number {
  return fchownat(opened.fd, EMPTY_PATH, uid, gid, AT_EMPTY_PATH);
}

export function setNodeTimes(
  opened: Opened,
  atime: Time | undefined,
  mtime: Time | undefined,
): number {
  if (!opened.isPathOnly) return setTimes(opened.fd, atime, mtime);
  // The link in /proc leads to the node itself, also when that is a symlink.
  return setTimesAt(AT_FDCWD, procPath(opened.fd), { atime, mtime, follow: true });
}

export function setXattr(opened: Opened, name: Uint8Array, value: Uint8Array): number {
  const cName = cString(name);
  if (opened.isPathOnly) return setxattr(procPath(opened.fd), cName, value, value.length, 0);
  return fsetxattr(opened.fd, cName, value, value.length, 0);
}

/** An attribute that is not there is removed already. */
export function removeXattr(opened: Opened, name: Uint8Array): number {
  const cName = cString(name);
  const result = opened.isPathOnly
    ? removexattr(procPath(opened.fd), cName)
    : fremovexattr(opened.fd, cName);
  return result === -ENODATA ? 0 : result;
}

/** True for the attributes whose change the kernel reflects in the mode. */
export function isAcl(name: Uint8Array): boolean {
  return ACL_PREFIX.equals(name.subarray(0, ACL_PREFIX.length));
}

export function isCapability(name: Uint8Array): boolean {
  return equalBytes(name, CAPABILITY_NAME);
}

/** Takes off what a new node has inherited from its directory's default ACL. */
export function removeInheritedAcl(fd: number): void {
  fremovexattr(fd, ACL_ACCESS);
  fremovexattr(fd, ACL_DEFAULT);
}

/** Extended attributes of the replica's node, by name as latin1. */
export function readXattrs(opened: Opened): Map<string, Uint8Array> {
  const xattrs = new Map<string, Uint8Array>();
  for (const name of xattrNames(opened.fd, opened.isPathOnly)) {
    const value = xattrValue(opened.fd, name, opened.isPathOnly);
    if (value !== undefined) xattrs.set(Buffer.from(name).toString("latin1"), value);
  }
  return xattrs;
}

/** Names of the attributes in which the two differ. */
export function xattrsThatDiffer(
  wanted: readonly Xattr[],
  found: ReadonlyMap<string, Uint8Array>,
): Set<string> {
  const differing = new Set(found.keys());
  for (const { name, value } of wanted) {
    const key = Buffer.from(name).toString("latin1");
    const is = found.get(key);
    if (is !== undefined && equalBytes(is, value)) differing.delete(key);
    else differing.add(key);
  }
  return differing;
}

/**
 * Gives the node exactly the wanted attributes. Calls `refused` for each that cannot be set or
 * removed.
 */
export function makeXattrs(
  opened: Opened,
  wanted: readonly Xattr[],
  refused: (name: string, errno: number) => void,
): void {
  const differing = xattrsThatDiffer(wanted, readXattrs(opened));
  for (const key of differing) {
    const name = Buffer.from(key, "latin1");
    const xattr = wanted.find((candidate) => equalBytes(candidate.name, name));
    const result =
      xattr === undefined ? removeXattr(opened, name) : setXattr(opened, name, xattr.value);
    if (result < 0) refused(key, -result);
  }
}

/**
 * Sets the flags that users set and leaves the file system's own. Of files and directories alone.
 */
export function makeInodeFlags(opened: Opened, flags: number): number {
  if (opened.isPathOnly) return 0;
  const is = getInodeFlags(opened.fd);
  if (is < 0) return (flags & INODE_FLAGS_MASK) === 0 ? 0 : is;
  const wanted = (is & ~INODE_FLAGS_MASK) | (flags & INODE_FLAGS_MASK);
  return wanted === is ? 0 : setInodeFlags(opened.fd, wanted);
}

/** Whether a file or directory has flags that users set; a directory gives some to new entries. */
export function hasInodeFlags(fd: number): boolean {
  const flags = getInodeFlags(fd);
  return flags > 0 && (flags & INODE_FLAGS_MASK) !== 0;
}

/** Of a new file or directory. The stream has those that the source's has, if any. */
export function removeInheritedFlags(fd: number): void {
  makeInodeFlags({ fd, isPathOnly: false }, 0);
}

export function makeProjectId(opened: Opened, projectId: number): number {
  if (opened.isPathOnly || projectId === 0) return 0;
  return setProjectId(opened.fd, projectId);
}
