/**
 * A folder of the replica whose entries are being put right: what that must not change about the
 * folder itself, its time and its protecting flags, is put back when it is closed.
 */
import { close } from "../platform/libc.ts";
import { getInodeFlags, setInodeFlags, setTimes, type Time } from "../platform/replica-files.ts";
import { Statx } from "../platform/statx.ts";
import { PROTECTING_FLAGS } from "./replica.ts";

const status = new Statx();

export class OpenFolder {
  readonly fd: number;
  #mtime: Time | undefined;
  #flags = 0;

  /** Owns the descriptor. */
  constructor(fd: number) {
    this.fd = fd;
  }

  /** To be called before an entry is made, moved or removed. */
  change(): void {
    if (this.#mtime !== undefined) return;
    if (status.of(this.fd) < 0) return;
    this.#mtime = { sec: status.mtimeSec, nsec: status.mtimeNsec };
    const flags = getInodeFlags(this.fd);
    if (flags < 0 || (flags & PROTECTING_FLAGS) === 0) return;
    this.#flags = flags;
    setInodeFlags(this.fd, flags & ~PROTECTING_FLAGS);
  }

  close(): void {
    if (this.#mtime !== undefined) setTimes(this.fd, undefined, this.#mtime);
    if (this.#flags !== 0) setInodeFlags(this.fd, this.#flags);
    close(this.fd);
  }
}
