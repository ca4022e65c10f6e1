/**
 * Open descriptors by node, a bounded number of them; the one that was not used for longest makes
 * room.
 */
import { close } from "../platform/libc.ts";

export interface Descriptor {
  readonly node: number;
  readonly fd: number;
  used: boolean;
  /** Directories: whether new entries inherit an ACL; undefined when nobody has looked yet. */
  inheritsAcl: boolean | undefined;
  /** Directories: whether they may inherit inode flags; undefined as above. */
  inheritsFlags: boolean | undefined;
}

export class DescriptorCache {
  readonly #max: number;
  readonly #onEvict: (node: number, fd: number) => void;
  readonly #entries = new Map<number, Descriptor>();
  #last: Descriptor | undefined;

  /** `onEvict` is called before the descriptor is closed. */
  constructor(max: number, onEvict: (node: number, fd: number) => void) {
    this.#max = max;
    this.#onEvict = onEvict;
  }

  get(node: number): Descriptor | undefined {
    if (this.#last?.node === node) return this.#last;
    const entry = this.#entries.get(node);
    if (entry === undefined) return undefined;
    entry.used = true;
    this.#last = entry;
    return entry;
  }

  put(node: number, fd: number): Descriptor {
    this.forget(node);
    if (this.#entries.size >= this.#max) this.#makeRoom();
    const entry: Descriptor = {
      node,
      fd,
      used: true,
      inheritsAcl: undefined,
      inheritsFlags: undefined,
    };
    this.#entries.set(node, entry);
    this.#last = entry;
    return entry;
  }

  /**
   * Second chance: who was used since the last look goes to the end of the queue. The one that was
   * used last stays, so that who asks for two gets two.
   */
  #makeRoom(): void {
    for (const [node, entry] of this.#entries) {
      if (!entry.used && entry !== this.#last) {
        this.evict(node);
        return;
      }
      entry.used = false;
      this.#entries.delete(node);
      this.#entries.set(node, entry);
    }
  }

  evict(node: number): void {
    const entry = this.#entries.get(node);
    if (entry === undefined) return;
    this.#onEvict(node, entry.fd);
    this.forget(node);
  }

  /** Closes without telling: the node is gone. */
  forget(node: number): void {
    const entry = this.#entries.get(node);
    if (entry === undefined) return;
    close(entry.fd);
    this.#entries.delete(node);
    if (this.#last === entry) this.#last = undefined;
  }

  evictAll(): void {
    for (const node of [...this.#entries.keys()]) this.evict(node);
  }

  forgetAll(): void {
    for (const node of [...this.#entries.keys()]) this.forget(node);
  }
}
