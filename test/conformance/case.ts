/**
 * What a conformance case is: a few calls in a folder of its own, and a plain result (numbers,
 * names of errors, contents) that must be the same on the mount as on the file system beneath.
 */
import { getSystemErrorName } from "node:util";
import { cString, getxattr, removexattr, setxattr } from "../../src/platform/libc.ts";
import { Statx } from "../../src/platform/statx.ts";

export interface Case {
  /** Runs with user and group 65534 and no other groups; the folder then has mode 777. */
  readonly asNobody?: (folder: Folder) => unknown;
  /** Runs as root, for a case that runs as nobody before it. */
  readonly asRoot?: (folder: Folder) => unknown;
}

export type Cases = Readonly<Record<string, Case>>;

export const NOBODY = 65534;

/** The folder of one case. Paths are bytes. */
export class Folder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Absolute path of a name, for the functions of node:fs. */
  at(name: string | Uint8Array = ""): Buffer {
    const bytes = typeof name === "string" ? Buffer.from(name) : name;
    return Buffer.concat([Buffer.from(`${this.path}/`), bytes]);
  }

  /** The same with a NUL, for the calls of libc.ts. */
  c(name: string | Uint8Array = ""): Uint8Array {
    return cString(this.at(name));
  }
}

/** What the call returns, or the name of the error that it ends with. */
export function attempt(call: () => unknown): unknown {
  try {
    const result = call();
    return typeof result === "number" ? named(result) : (result ?? "ok");
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

/** The result of a call of libc.ts: as it is, or the name of its error. */
export function named(result: number): number | string {
  return result < 0 ? getSystemErrorName(result) : result;
}

const statx = new Statx();
const AT_FDCWD = -100;

/** What stat says, without what depends on place and time. */
export function status(folder: Folder, name: string | Uint8Array = ""): unknown {
  const error = statx.at(AT_FDCWD, folder.c(name));
  return error < 0 ? named(error) : shown(statx);
}

export function fdStatus(fd: number): unknown {
  const error = statx.of(fd);
  return error < 0 ? named(error) : shown(statx);
}

function shown({ mode, nlink, uid, gid, size, rdev, isDirectory }: Statx): unknown {
  // The size of a directory is the file system's own affair.
  return {
    mode: mode.toString(8),
    nlink,
    owner: `${uid}:${gid}`,
    size: isDirectory ? "-" : size,
    rdev,
  };
}

export interface Times {
  readonly atime: string;
  readonly mtime: string;
  readonly ctime: string;
}

export function times(folder: Folder, name: string | Uint8Array = ""): Times {
  const error = statx.at(AT_FDCWD, folder.c(name));
  if (error < 0) throw new Error(String(named(error)));
  return {
    atime: `${statx.atimeSec}.${statx.atimeNsec}`,
    mtime: `${statx.mtimeSec}.${statx.mtimeNsec}`,
    ctime: `${statx.ctimeSec}.${statx.ctimeNsec}`,
  };
}

/** Which times of the names a call changes, as letters. Waits before it, for the clock to go on. */
export function changedTimes(
  folder: Folder,
  names: readonly string[],
  call: () => unknown,
): Record<string, string> {
  const before = names.map((name) => times(folder, name));
  pause(25);
  call();
  return Object.fromEntries(
    names.map((name, i) => {
      const [now, then] = [times(folder, name), before[i] as Times];
      const letters = (["atime", "mtime", "ctime"] as const)
        .filter((which) => now[which] !== then[which])
        .map((which) => which[0]);
      return [name || ".", letters.join("")];
    }),
  );
}

export function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** A large result in few letters. */
export function digest(bytes: Uint8Array): string {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return `${bytes.length}:${hash.toString(16)}`;
}

export function setXattr(
  folder: Folder,
  name: string | Uint8Array,
  key: string,
  value: string | Uint8Array,
  flags = 0,
): unknown {
  const bytes = Buffer.from(value as string);
  return attempt(() => setxattr(folder.c(name), cString(key), bytes, bytes.length, flags));
}

/** In hexadecimal; a size of 0 asks for the size only. */
export function getXattr(folder: Folder, name: string, key: string, size = 70_000): unknown {
  return attempt(() => {
    const buffer = Buffer.alloc(size);
    const got = getxattr(folder.c(name), cString(key), buffer, size);
    if (got < 0 || size === 0) return named(got);
    return got > 100 ? digest(buffer.subarray(0, got)) : buffer.toString("hex", 0, got);
  });
}

export function removeXattr(folder: Folder, name: string | Uint8Array, key: string): unknown {
  return attempt(() => removexattr(folder.c(name), cString(key)));
}
