/**
 * Windows on the request in hand and on the reply that is being made; one pair per worker, reused.
 */
import { indexOfNul, readI64, readU64, writeU64 } from "../base/bytes.ts";
import type { NativeMemory } from "../platform/native.ts";
import { IN_HEADER_BYTES, OUT_HEADER_BYTES, UNIQUE_RESEND_HIGH } from "./abi.ts";

/** Answer of a handler that the kernel waits for no reply to (FORGET, INTERRUPT). */
export const NO_REPLY = 1;

export class Request {
  memory: NativeMemory;
  view: DataView;
  /** Absolute offset of the header in the memory. */
  base = 0;
  /** Of header and body. */
  length = 0;
  opcode = 0;
  uniqueLow = 0;
  uniqueHigh = 0;
  /** The kernel sends this request a second time: its first server died before it answered. */
  resent = false;
  nodeId = 0;

  constructor(memory: NativeMemory) {
    this.memory = memory;
    this.view = memory.view;
  }

  /** Points at a received message; false when it is not even a whole header. */
  load(memory: NativeMemory, base: number, length: number): boolean {
    this.memory = memory;
    this.view = memory.view;
    this.base = base;
    this.length = length;
    if (length < IN_HEADER_BYTES || this.view.getUint32(base, true) !== length) return false;
    const high = this.view.getUint32(base + 12, true);
    this.opcode = this.view.getUint32(base + 4, true);
    this.uniqueLow = this.view.getUint32(base + 8, true);
    this.resent = high >= UNIQUE_RESEND_HIGH;
    this.uniqueHigh = this.resent ? high - UNIQUE_RESEND_HIGH : high;
    this.nodeId = readU64(this.view, base + 16);
    return true;
  }

  get uid(): number {
    return this.view.getUint32(this.base + 24, true);
  }
  get gid(): number {
    return this.view.getUint32(this.base + 28, true);
  }
  get pid(): number {
    return this.view.getUint32(this.base + 32, true);
  }
  get bodyLength(): number {
    return this.length - IN_HEADER_BYTES;
  }
  u32(at: number): number {
    return this.view.getUint32(this.base + IN_HEADER_BYTES + at, true);
  }
  u64(at: number): number {
    return readU64(this.view, this.base + IN_HEADER_BYTES + at);
  }
  i64(at: number): number {
    return readI64(this.view, this.base + IN_HEADER_BYTES + at);
  }
  /** Address of the body's byte `at`, for system calls. */
  address(at: number): number {
    return this.memory.address + this.base + IN_HEADER_BYTES + at;
  }
  /** The bytes of the body from `start` to `end`: a view, dead when the next request is read. */
  bytes(start: number, end: number): Uint8Array {
    const at = this.base + IN_HEADER_BYTES;
    return this.memory.bytes.subarray(at + start, at + end);
  }
  /** Position in the body of the NUL that ends the name at `start`, or -1: malformed. */
  nameEnd(start: number): number {
    const at = this.base + IN_HEADER_BYTES;
    const nul = indexOfNul(this.memory.bytes, at + start, this.base + this.length);
    return nul === -1 ? -1 : nul - at;
  }
}

export class Reply {
  readonly memory: NativeMemory;
  readonly view: DataView;
  /** Bytes of the body; set by the handler that succeeds. */
  length = 0;

  constructor(memory: NativeMemory) {
    this.memory = memory;
    this.view = memory.view;
  }

  /** Absolute offset of the body's byte `at`. */
  at(at: number): number {
    return OUT_HEADER_BYTES + at;
  }
  address(at: number): number {
    return this.memory.address + OUT_HEADER_BYTES + at;
  }
  setU32(at: number, value: number): void {
    this.view.setUint32(OUT_HEADER_BYTES + at, value, true);
  }
  setU64(at: number, value: number): void {
    writeU64(this.view, OUT_HEADER_BYTES + at, value);
  }
}
