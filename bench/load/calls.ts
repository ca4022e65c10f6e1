/**
 * The load's own system calls, on memory by address: nothing is converted or allocated per call, so
 * that the generator costs little beside what it measures.
 */
import koffi from "koffi";

import { O_CREAT, O_EXCL, O_WRONLY } from "../../src/platform/libc.ts";
import { close, syncfs } from "../../src/platform/libc.ts";
import { allocateNative, type NativeMemory, openatAt } from "../../src/platform/native.ts";

const libc = koffi.load("libc.so.6");
const fchownat_ = libc.func("int fchownat(int, int64_t, uint32_t, uint32_t, int)");
const msync_ = libc.func("int msync(int64_t, size_t, int)");
const sync_ = libc.func("void sync()");

const MS_SYNC = 4;
const GROUP_UNCHANGED = 0xffffffff;

export function chownAt(folderFd: number, name: number, owner: number): number {
  const result = fchownat_(folderFd, name, owner, GROUP_UNCHANGED, 0);
  return result === -1 ? -koffi.errno() : result;
}

export function msyncAt(address: number, length: number): number {
  const result = msync_(address, length, MS_SYNC);
  return result === -1 ? -koffi.errno() : result;
}

export function syncAll(): void {
  sync_();
}

/** `result`, when it is no error. */
export function must(result: number, what: string): number {
  if (result < 0) throw new Error(`${what}: errno ${-result}`);
  return result;
}

const NAME_BYTES = 16;
const NAME_DIGITS = 8;
const DIGIT_0 = 0x30;

/** Names made of a letter and eight digits, in memory that the kernel reads in place. */
export class Names {
  readonly #memory: NativeMemory;
  readonly #prefix: number;

  constructor(prefix: string, slots: number) {
    this.#memory = allocateNative(slots * NAME_BYTES);
    this.#prefix = prefix.charCodeAt(0);
  }

  /** Writes the name of `number` to place `slot`; returns its address. */
  write(number: number, slot = 0): number {
    const { bytes, address } = this.#memory;
    const at = slot * NAME_BYTES;
    bytes[at] = this.#prefix;
    let rest = number;
    for (let digit = NAME_DIGITS; digit >= 1; digit--) {
      bytes[at + digit] = DIGIT_0 + (rest % 10);
      rest = (rest / 10) | 0;
    }
    return address + at;
  }

  at(slot: number): number {
    return this.#memory.address + slot * NAME_BYTES;
  }
}

export function createEmpty(folderFd: number, name: number): void {
  const fd = must(openatAt(folderFd, name, O_CREAT | O_EXCL | O_WRONLY, 0o644), "create");
  close(fd);
}

/** Writes out what preparation left behind, so that it is not measured. */
export function settle(folderFd: number): void {
  must(syncfs(folderFd), "syncfs");
}

/** A quick generator of 32-bit numbers; the same sequence in each run. */
export function randomNumbers(seed = 0x2545f491): () => number {
  let state = seed | 0;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** Memory full of noise, to write from. */
export function noise(size: number): NativeMemory {
  const memory = allocateNative(size);
  const random = randomNumbers();
  for (let at = 0; at < size; at += 4) memory.view.setUint32(at, random(), true);
  return memory;
}
