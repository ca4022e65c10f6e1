/**
 * Commands from the applying side to the engine's mirror thread: "append this directory's listing",
 * "append this file". A circle of slots in the ring's memory with one producer and one consumer.
 *
 * A command is answered by ops in the ring whose `extra` is the command's number; the last of them
 * has OP_FLAG_LAST. Commands that an engine took and did not answer before it was killed are lost:
 * the producer sees the engine's generation change ({@link HeaderAt.engineGeneration}) and gives
 * them again.
 */
import { readU64, writeU64 } from "../base/bytes.ts";
import { futexWait, futexWake } from "../platform/libc.ts";
import type { Ring } from "./ring.ts";
import { COMMAND_BYTES, COMMAND_HEADER_BYTES, COMMAND_SLOTS, HeaderAt } from "./ring-layout.ts";

export const CommandKind = {
  /** Listing of a directory with the attributes of its entries: `mirror-directory` ops. */
  directory: 1,
  /**
   * `mirror-node`, and for a regular file its data from `offset` on: `mirror-block`, `mirror-hole`.
   */
  node: 2,
  /**
   * `mirror-node`, and for a regular file hashes of its blocks from `offset` on: `verify-block`.
   */
  verifyNode: 3,
  /** Data of one range of a regular file: `mirror-block`, `mirror-hole`. */
  range: 4,
} as const;

export type CommandKind = (typeof CommandKind)[keyof typeof CommandKind];

export interface Command {
  /** Chosen by the producer, from 1; comes back as `extra` of the answering ops. */
  readonly number: number;
  readonly kind: CommandKind;
  readonly mount: number;
  readonly node: number;
  readonly offset: number;
  readonly length: number;
}

/** Queue header: u32 pushed and u32 popped, on cache lines of their own. */
const PUSHED = 0;
const POPPED = 64;

export class CommandQueue {
  readonly #ring: Ring;
  readonly #view: DataView;
  readonly #bell: Uint8Array;
  readonly #pushedAt: number;
  readonly #poppedAt: number;
  readonly #slotsAt: number;
  /** Of the command that was looked at last. */
  #peekedIndex = 0;

  constructor(ring: Ring) {
    this.#ring = ring;
    this.#view = new DataView(ring.memory.buffer);
    this.#bell = ring.memory.bytes.subarray(HeaderAt.commandBell, HeaderAt.commandBell + 4);
    this.#pushedAt = (ring.layout.commandsAt + PUSHED) / 4;
    this.#poppedAt = (ring.layout.commandsAt + POPPED) / 4;
    this.#slotsAt = ring.layout.commandsAt + COMMAND_HEADER_BYTES;
  }

  #slot(index: number): number {
    return this.#slotsAt + (index & (COMMAND_SLOTS - 1)) * COMMAND_BYTES;
  }

  get length(): number {
    const { i32 } = this.#ring;
    return (Atomics.load(i32, this.#pushedAt) - Atomics.load(i32, this.#poppedAt)) | 0;
  }

  /** False when the queue is full. Call {@link wake} after the last of several. */
  push(command: Command): boolean {
    if (this.length >= COMMAND_SLOTS) return false;
    const index = Atomics.load(this.#ring.i32, this.#pushedAt);
    const at = this.#slot(index);
    writeU64(this.#view, at, command.number);
    this.#view.setUint32(at + 8, command.kind, true);
    this.#view.setUint32(at + 12, command.mount, true);
    writeU64(this.#view, at + 16, command.node);
    writeU64(this.#view, at + 24, command.offset);
    writeU64(this.#view, at + 32, command.length);
    Atomics.store(this.#ring.i32, this.#pushedAt, (index + 1) | 0);
    return true;
  }

  /** Wakes the consumer. */
  wake(): void {
    Atomics.add(this.#ring.i32, HeaderAt.commandBell / 4, 1);
    futexWake(this.#bell, 1);
  }

  /**
   * The oldest command, which stays in the queue until {@link pop}; undefined when there is none.
   */
  peek(): Command | undefined {
    if (this.length === 0) return undefined;
    this.#peekedIndex = Atomics.load(this.#ring.i32, this.#poppedAt);
    return this.#read(this.#peekedIndex);
  }

  /** The command `distance` behind the oldest, undefined when there is none. */
  peekAhead(distance: number): Command | undefined {
    if (this.length <= distance) return undefined;
    return this.#read(Atomics.load(this.#ring.i32, this.#poppedAt) + distance);
  }

  #read(index: number): Command {
    const at = this.#slot(index);
    return {
      number: readU64(this.#view, at),
      kind: this.#view.getUint32(at + 8, true) as CommandKind,
      mount: this.#view.getUint32(at + 12, true),
      node: readU64(this.#view, at + 16),
      offset: readU64(this.#view, at + 24),
      length: readU64(this.#view, at + 32),
    };
  }

  /**
   * Takes away what {@link peek} has shown, unless the producer has emptied the queue meanwhile:
   * then it is gone already, and counting on would make old slots commands again.
   */
  pop(): void {
    const index = this.#peekedIndex;
    Atomics.compareExchange(this.#ring.i32, this.#poppedAt, index, (index + 1) | 0);
  }

  /** Empties the queue; for the producer, before it gives its commands again to a new engine. */
  clear(): void {
    Atomics.store(this.#ring.i32, this.#poppedAt, Atomics.load(this.#ring.i32, this.#pushedAt));
  }

  /** Sleeps until the producer calls {@link wake}, at most `timeoutMs`. */
  waitForCommand(timeoutMs: number): void {
    const bell = Atomics.load(this.#ring.i32, HeaderAt.commandBell / 4);
    if (this.length === 0) futexWait(this.#bell, bell, timeoutMs);
  }
}
