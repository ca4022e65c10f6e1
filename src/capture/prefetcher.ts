/**
 * Has the kernel read small files ahead of the mirror thread, which reads them one after the other:
 * a disk that is asked for one at a time is idle most of the time. Only while reads are found to
 * wait for the disk, since for cached files it would be work for nothing.
 */
import { type Command, CommandKind, type CommandQueue } from "../journal/command-queue.ts";
import { close, O_NOATIME, O_NONBLOCK, O_RDONLY } from "../platform/libc.ts";
import { adviseWillNeed } from "../platform/native.ts";
import type { Beneath } from "./beneath.ts";

/** So many commands ahead of the one in hand. */
const DISTANCE = 24;
/** The kernel's own read-ahead does the rest of larger files. */
const AHEAD_BYTES = 128 * 1024;
/** A read that took longer waited for the disk. */
const COLD_MS = 0.04;
/** After such a read, so many files are read ahead. */
const FILES = 64;

export class Prefetcher {
  readonly #beneath: (mount: number) => Beneath | undefined;
  #files = 0;
  #ahead = 0;

  /** `beneath`: the way to the files of a mount; undefined: there is no such mount. */
  constructor(beneath: (mount: number) => Beneath | undefined) {
    this.#beneath = beneath;
  }

  /** A read of `length` bytes of a file took so long. */
  noteRead(length: number, durationMs: number): void {
    if (length <= AHEAD_BYTES && durationMs > COLD_MS) this.#files = FILES;
  }

  /** Before the command at the queue's front is served. */
  next(queue: CommandQueue): void {
    if (this.#files === 0) {
      this.#ahead = 0;
      return;
    }
    this.#files -= 1;
    this.#ahead = Math.max(0, this.#ahead - 1);
    for (; this.#ahead < DISTANCE; this.#ahead++) {
      const command = queue.peekAhead(this.#ahead + 1);
      if (command === undefined) return;
      this.#fetch(command);
    }
  }

  #fetch(command: Command): void {
    if (command.kind === CommandKind.directory) return;
    const beneath = this.#beneath(command.mount);
    // To open a device may do something.
    if (beneath?.nodes.isRegular(command.node) !== true) return;
    const fd = beneath.open(command.node, O_RDONLY | O_NOATIME | O_NONBLOCK);
    if (fd < 0) return;
    adviseWillNeed(fd, command.offset, AHEAD_BYTES);
    close(fd);
  }
}
