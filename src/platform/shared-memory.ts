/**
 * A file in /dev/shm, mapped shared: memory that outlives the process that wrote it, as long as the
 * machine runs. Typed arrays and `Atomics` work on it across processes; `Atomics.wait` does not (it
 * asks for a SharedArrayBuffer), hence the futex calls of libc.ts.
 */
import { closeSync, fstatSync, ftruncateSync, openSync } from "node:fs";
import { type Address, addressOf, mmapShared, munmap } from "./libc.ts";

export class SharedMemory {
  readonly fd: number;
  readonly size: number;
  readonly buffer: ArrayBuffer;
  readonly bytes: Uint8Array;
  /** Where the memory is mapped in this process, for the calls of native.ts. */
  readonly address: number;
  readonly #mapping: Address;

  private constructor(fd: number, size: number) {
    this.fd = fd;
    this.size = size;
    const mapped = mmapShared(fd, size);
    this.#mapping = mapped.address;
    this.address = addressOf(mapped.address);
    this.buffer = mapped.buffer;
    this.bytes = new Uint8Array(mapped.buffer);
  }

  /**
   * Makes the file with `size` bytes of zeros, replacing whatever had that name. Pages cost memory
   * when touched.
   */
  static create(path: string, size: number): SharedMemory {
    const fd = openSync(path, "w+", 0o600);
    ftruncateSync(fd, size);
    return new SharedMemory(fd, size);
  }

  /** Maps an existing file whole. */
  static open(path: string): SharedMemory {
    return SharedMemory.ofFd(openSync(path, "r+"));
  }

  /**
   * Maps the file behind a descriptor that was inherited; the instance owns the descriptor from
   * here on.
   */
  static ofFd(fd: number): SharedMemory {
    return new SharedMemory(fd, fstatSync(fd).size);
  }

  /** Unmaps. Every typed array over it is dead afterwards: touching one ends the process. */
  close(): void {
    munmap(this.#mapping, this.size);
    closeSync(this.fd);
  }
}
