/**
 * A lock that the kernel drops when its holder dies, however it dies: `flock(2)` on a file that
 * stays where it is.
 */

import { closeSync, openSync } from "node:fs";
import koffi from "koffi";

const libc = koffi.load("libc.so.6");
const flock = libc.func("int flock(int, int)");

const LOCK_EX = 2;
const LOCK_NB = 4;

export class FileLock {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Undefined when another process holds it. */
  static tryAcquire(path: string): FileLock | undefined {
    const fd = openSync(path, "a", 0o600);
    if (flock(fd, LOCK_EX | LOCK_NB) === 0) return new FileLock(fd);
    closeSync(fd);
    return undefined;
  }

  release(): void {
    closeSync(this.#fd);
  }
}
