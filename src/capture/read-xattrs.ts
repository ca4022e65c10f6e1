/** All extended attributes of a node, for a mirror. */
import type { Xattr } from "../model/mirror-record.ts";
import { cString, fgetxattr, flistxattr, getxattr, listxattr } from "../platform/libc.ts";

const LIST_BYTES_MAX = 65_536;
const VALUE_BYTES_MAX = 65_536;
const list = Buffer.alloc(LIST_BYTES_MAX);
const value = Buffer.alloc(VALUE_BYTES_MAX);

/** `isReal` false: the descriptor is O_PATH, and the way leads through /proc. Copies. */
export function readXattrs(fd: number, isReal: boolean): Xattr[] {
  const path = isReal ? undefined : cString(`/proc/self/fd/${fd}`);
  const listed =
    path === undefined
      ? flistxattr(fd, list, LIST_BYTES_MAX)
      : listxattr(path, list, LIST_BYTES_MAX);
  const xattrs: Xattr[] = [];
  for (let at = 0; at < listed; ) {
    const end = list.indexOf(0, at);
    const name = Uint8Array.prototype.slice.call(list, at, end + 1) as Uint8Array;
    const size =
      path === undefined
        ? fgetxattr(fd, name, value, VALUE_BYTES_MAX)
        : getxattr(path, name, value, VALUE_BYTES_MAX);
    // One that goes away between the two calls is not there.
    if (size >= 0) {
      const bytes = Uint8Array.prototype.slice.call(value, 0, size) as Uint8Array;
      xattrs.push({ name: name.subarray(0, name.length - 1), value: bytes });
    }
    at = end + 1;
  }
  return xattrs;
}
