/** The kernel's end of a FUSE connection, in memory: sends any bytes, keeps the answers. */
import { readU64, writeU64 } from "../../src/base/bytes.ts";
import { IN_HEADER_BYTES, OUT_HEADER_BYTES } from "../../src/fuse/abi.ts";
import { MAX_WRITE_BYTES } from "../../src/fuse/init.ts";
import { Reply } from "../../src/fuse/message.ts";
import { type Channel, type Handlers, type RequestSpace, Session } from "../../src/fuse/session.ts";
import { EAGAIN } from "../../src/platform/errno.ts";
import { allocateNative } from "../../src/platform/native.ts";

export interface Message {
  readonly opcode: number;
  readonly nodeId?: number;
  readonly unique?: bigint;
  readonly uid?: number;
  readonly gid?: number;
  readonly body?: Uint8Array;
  /** What the length field says; the truth when left out. */
  readonly says?: number;
}

export interface Answer {
  readonly unique: bigint;
  /** 0 or -errno. */
  readonly error: number;
  readonly body: Uint8Array;
}

export function encode(message: Message): Uint8Array {
  const body = message.body ?? new Uint8Array(0);
  const bytes = new Uint8Array(IN_HEADER_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, message.says ?? bytes.length, true);
  view.setUint32(4, message.opcode, true);
  view.setBigUint64(8, message.unique ?? 2n, true);
  writeU64(view, 16, message.nodeId ?? 1);
  view.setUint32(24, message.uid ?? 0, true);
  view.setUint32(28, message.gid ?? 0, true);
  view.setUint32(32, 1, true);
  bytes.set(body, IN_HEADER_BYTES);
  return bytes;
}

/** Numbers and bytes one behind the other: what a request's body is made of. */
export class BodyWriter {
  readonly #parts: Uint8Array[] = [];

  u32(...values: number[]): this {
    for (const value of values) {
      const part = new Uint8Array(4);
      new DataView(part.buffer).setUint32(0, value >>> 0, true);
      this.#parts.push(part);
    }
    return this;
  }
  u64(...values: (number | bigint)[]): this {
    for (const value of values) {
      const part = new Uint8Array(8);
      new DataView(part.buffer).setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
      this.#parts.push(part);
    }
    return this;
  }
  /** Ended with a NUL. */
  name(name: string | Uint8Array): this {
    return this.bytes(Buffer.from(name)).bytes(Uint8Array.of(0));
  }
  bytes(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    return this;
  }
  done(): Uint8Array {
    return new Uint8Array(Buffer.concat(this.#parts));
  }
}

export function body(): BodyWriter {
  return new BodyWriter();
}

/** Larger than any request, so that hostile ones fit. */
const ROOM_BYTES = MAX_WRITE_BYTES + 16_384;
const GUARD = 0xa5;

export class FakeKernel implements Channel {
  readonly requests = allocateNative(ROOM_BYTES);
  readonly reply = new Reply(allocateNative(MAX_WRITE_BYTES + 4096));
  readonly answers: Answer[] = [];
  readonly bugs: { error: unknown; opcode: number }[] = [];
  readonly session: Session;
  /** Returned by receive instead of a request. */
  receives: number | undefined;
  /** Returned by send instead of the length. */
  sends: number | undefined;
  #space: RequestSpace;
  #next: Uint8Array | undefined;

  constructor(handlers: Handlers, space?: () => RequestSpace) {
    this.#space = { memory: this.requests, base: 0, room: ROOM_BYTES };
    this.session = new Session({
      channel: this,
      handlers,
      reply: this.reply,
      space: () => {
        if (space !== undefined) this.#space = space();
        return this.#space;
      },
      onBug: (error, opcode) => this.bugs.push({ error, opcode }),
    });
  }

  receive(address: number, room: number): number {
    if (this.receives !== undefined) return this.receives;
    const next = this.#next;
    if (next === undefined || next.length > room) return -EAGAIN;
    const { memory } = this.#space;
    const at = address - memory.address;
    // What an earlier request left behind must not be taken for part of this one.
    memory.bytes.fill(GUARD, at, Math.min(at + next.length + 4096, memory.bytes.length));
    memory.bytes.set(next, at);
    return next.length;
  }

  send(address: number, length: number): number {
    const { bytes, view } = this.reply.memory;
    const at = address - this.reply.memory.address;
    const says = view.getUint32(at, true);
    if (says !== length || length < OUT_HEADER_BYTES) throw new Error(`${says} is not ${length}`);
    const unique = view.getBigUint64(at + 8, true);
    const error = view.getInt32(at + 4, true);
    const body = bytes.slice(at + OUT_HEADER_BYTES, at + length);
    if (error > 0 || error < -4095) throw new Error(`a reply with error ${error}`);
    if (error !== 0 && body.length > 0) throw new Error("an error with a body");
    this.answers.push({ unique, error, body });
    return this.sends ?? length;
  }

  /** Serves raw bytes; returns what ended the session, 0 for nothing. */
  serve(bytes: Uint8Array): number {
    this.#next = bytes;
    const result = this.session.serveOne();
    this.#next = undefined;
    return result;
  }

  /** Serves one message; returns its answer, or undefined when there was none. */
  ask(message: Message): Answer | undefined {
    const before = this.answers.length;
    const ended = this.serve(encode(message));
    if (ended !== 0) throw new Error(`the session ended with ${ended}`);
    if (this.answers.length > before + 1) throw new Error("more than one answer");
    return this.answers[before];
  }

  /** As {@link ask}, for what must be answered. */
  answer(message: Message): Answer {
    const answer = this.ask(message);
    if (answer === undefined) throw new Error(`opcode ${message.opcode} was not answered`);
    return answer;
  }
}

/** Little-endian number in an answer's body. */
export function u64At(bytes: Uint8Array, at: number): number {
  return readU64(new DataView(bytes.buffer, bytes.byteOffset), at);
}
export function u32At(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
}
