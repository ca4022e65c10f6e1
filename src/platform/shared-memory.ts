/**
 * A file in /dev/shm, mapped shared: memory that outlives the process that wrote it, as long as the
 * machine runs. Typed arrays and `Atomics` work on it across processes; `Atomics.wait` does not (it
 * asks for a SharedArrayBuffer), hence the futex calls of libc.ts.
 */
import { closeSync, fstatSync, ftruncateSync, openSync } from "node:fs";
import { mmapShared, munmap, viewOf } from "./libc.ts";

/** Where a file is mapped in this process: the same for all its threads. */
export interface Mapping {
  readonly fd: number;
  readonly size: number;
  readonly address: number;
}

export class SharedMemory {
  readonly fd: number;
  readonly size: number;
  readonly buffer: ArrayBuffer;
  readonly bytes: Uint8Array;
  /** Where the memory is mapped in this process, for the calls of native.ts. */
  readonly address: number;

  private constructor({ fd, size, address }: Mapping) {
    this.fd = fd;
    this.size = size;
    this.address = address;
    this.buffer = viewOf(address, size);
    this.bytes = new Uint8Array(this.buffer);
  }

  /**
   * Makes the file with `size` bytes of zeros, replacing whatever had that name. Pages cost memory
   * when touched.
   */
  static create(path: string, size: number): SharedMemory {
    const fd = openSync(path, "w+", 0o600);
    ftruncateSync(fd, size);
    return SharedMemory.ofFd(fd);
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
    const { size } = fstatSync(fd);
    return new SharedMemory({ fd, size, address: mmapShared(fd, size) });
  }

  /**
   * What another thread of this process has mapped and keeps mapped. A mapping of its own would
   * count a second time in the memory of the process.
   */
  static at(mapping: Mapping): SharedMemory {
    return new SharedMemory(mapping);
  }

  get mapping(): Mapping {
    const { fd, size, address } = this;
    return { fd, size, address };
  }

  /** Unmaps. Every typed array over it is dead afterwards: touching one ends the process. */
  close(): void {
    munmap(this.address, this.size);
    closeSync(this.fd);
  }
}
