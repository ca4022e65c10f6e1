/**
 * One worker's request loop: receive, check, hand over, answer. It knows the protocol and nothing
 * of files; the way to the kernel is a {@link Channel}, so that another transport can stand beside
 * /dev/fuse.
 */
import { EINVAL, EIO, EINTR, EAGAIN, ENODEV, ENOENT, ENOSYS } from "../platform/errno.ts";
import type { NativeMemory } from "../platform/native.ts";
import { BODY_BYTES_MIN, OUT_HEADER_BYTES, Opcode, UNIQUE_RESEND_HIGH } from "./abi.ts";
import { NO_REPLY, type Reply, Request } from "./message.ts";

export interface Channel {
  /** Blocks for the next request; returns its bytes, or `-errno`. */
  receive(address: number, room: number): number;
  /** Returns the bytes sent, or `-errno`. */
  send(address: number, length: number): number;
}

/** Serves one request: returns 0 (reply made), `-errno`, or NO_REPLY. */
export type Handler = (request: Request, reply: Reply) => number;

/**
 * Handlers by opcode; an opcode without one is answered ENOSYS, after which the kernel does without
 * it.
 */
export type Handlers = ReadonlyMap<number, Handler>;

/** Where the next request is to be received. */
export interface RequestSpace {
  memory: NativeMemory;
  base: number;
  room: number;
}

export interface SessionOptions {
  readonly channel: Channel;
  readonly handlers: Handlers;
  readonly reply: Reply;
  /** Asked before each receive. */
  readonly space: () => RequestSpace;
  /** Told of each request that was received. */
  readonly onReceived?: () => void;
  /** A handler threw: our bug. The request is answered EIO and the session goes on. */
  readonly onBug: (error: unknown, opcode: number) => void;
}

const NEVER_ANSWERED: ReadonlySet<number> = new Set([
  Opcode.forget,
  Opcode.batchForget,
  Opcode.interrupt,
]);

export class Session {
  readonly #options: SessionOptions;
  readonly #table: (Handler | undefined)[] = [];
  readonly #bodyMin: number[] = [];
  readonly request: Request;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.request = new Request(options.reply.memory);
    for (const [opcode, handler] of options.handlers) this.#table[opcode] = handler;
    for (const [opcode, bytes] of BODY_BYTES_MIN) this.#bodyMin[opcode] = bytes;
  }

  /** Serves until the connection is gone. Returns the errno that ended it (ENODEV: unmounted). */
  run(): number {
    for (;;) {
      const error = this.serveOne();
      if (error !== 0) return error;
    }
  }

  /** Serves the next request; returns 0, or the errno that ends the session. */
  serveOne(): number {
    const { channel, space } = this.#options;
    const { memory, base, room } = space();
    const received = channel.receive(memory.address + base, room);
    if (received < 0) {
      // ENOENT: the request was interrupted before it was read.
      const again = received === -EINTR || received === -EAGAIN || received === -ENOENT;
      return again ? 0 : -received;
    }
    if (received === 0) return ENODEV;
    if (!this.request.load(memory, base, received)) return 0;
    this.#options.onReceived?.();
    return this.#answer(this.#dispatch());
  }

  #dispatch(): number {
    const { request } = this;
    const { opcode } = request;
    const handler = this.#table[opcode];
    if (handler === undefined) return NEVER_ANSWERED.has(opcode) ? NO_REPLY : -ENOSYS;
    if (request.bodyLength < (this.#bodyMin[opcode] ?? 0)) {
      return NEVER_ANSWERED.has(opcode) ? NO_REPLY : -EINVAL;
    }
    this.#options.reply.length = 0;
    try {
      return handler(request, this.#options.reply);
    } catch (error) {
      this.#options.onBug(error, opcode);
      return NEVER_ANSWERED.has(opcode) ? NO_REPLY : -EIO;
    }
  }

  #answer(result: number): number {
    if (result === NO_REPLY) return 0;
    const { reply, channel } = this.#options;
    const { request } = this;
    const length = OUT_HEADER_BYTES + (result === 0 ? reply.length : 0);
    const { view } = reply;
    view.setUint32(0, length, true);
    view.setInt32(4, result, true);
    view.setUint32(8, request.uniqueLow, true);
    const high = request.resent ? request.uniqueHigh + UNIQUE_RESEND_HIGH : request.uniqueHigh;
    view.setUint32(12, high, true);
    const sent = channel.send(reply.memory.address, length);
    // ENOENT: the caller was interrupted and its request is gone; nobody waits for the answer.
    if (sent >= 0 || sent === -ENOENT || sent === -EINTR) return 0;
    return sent === -ENODEV ? ENODEV : 0;
  }
}
