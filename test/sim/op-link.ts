/**
 * Runs the sender for one target in the way that the product's runner has to: at a source, or at a
 * target that sends on what it has on its disk.
 */
import { assert } from "../../src/base/assert.ts";
import type { SenderEffect, SenderEvent } from "../../src/replication/sender.ts";
import type { Machine, Process } from "./machine.ts";
import type { Message, Op } from "./messages.ts";
import type { Endpoint } from "./network.ts";
import type { SenderLike } from "./parts.ts";
import type { Surroundings } from "./source.ts";

/** What there is to send, as it is at the moment. */
export interface Sending {
  /** Name of the source that the ops are of. */
  readonly source: string;
  readonly process: Process;
  readonly surroundings: Surroundings;
  readonly stream: number;
  /** The first and the last op that can be sent. */
  readonly firstLsn: number;
  readonly lastLsn: number;
  /** See {@link firstOf}. */
  read(from: number, bytesMax: number): Op[];
  /** The target has said something. */
  heard(): void;
}

/** At least one op from that index on, and those that fit in `bytesMax`; none if there is none. */
export function firstOf(ops: readonly Op[], from: number, bytesMax: number): Op[] {
  const read: Op[] = [];
  let bytes = 0;
  for (let index = from; index < ops.length; index++) {
    const op = ops[index] as Op;
    bytes += op.bytes;
    if (read.length > 0 && bytes > bytesMax) break;
    read.push(op);
  }
  return read;
}

export class OpLink {
  readonly #sending: Sending;
  readonly #target: Machine;
  readonly #sender: SenderLike;
  #endpoint: Endpoint | undefined;
  #isStepping = false;
  #allowance = 0;
  #isStopped = false;

  constructor(sending: Sending, target: Machine) {
    const { process, surroundings } = sending;
    const { config, parts } = surroundings;
    this.#sending = sending;
    this.#target = target;
    this.#sender = parts.sender(0, config.sender);
    process.every(config.tickMs, () => this.#tick());
  }

  /** While its process goes on. */
  stop(): void {
    this.#isStopped = true;
    this.#endpoint?.close();
    this.#endpoint = undefined;
  }

  get durable(): number {
    return this.#sender.durable;
  }

  #tick(): void {
    if (this.#isStopped) return;
    const { bytesPerMs, tickMs } = this.#sending.surroundings.config;
    if (bytesPerMs !== undefined) {
      this.#allowance = Math.min(this.#allowance + bytesPerMs * tickMs, bytesPerMs * tickMs * 3);
      this.#step({ kind: "allowance", bytes: this.#allowance });
    }
    this.#step({ kind: "available", lsn: this.#sending.lastLsn });
    this.#step({ kind: "tick" });
  }

  #step(event: SenderEvent): void {
    const { process, surroundings } = this.#sending;
    assert(!this.#isStepping, "an effect leads to no event before all effects are performed");
    this.#isStepping = true;
    const effects = this.#sender.step(event, process.machine.nowMs());
    for (const effect of effects) this.#perform(effect);
    this.#isStepping = false;
    const { windowBytes, frameBytes } = surroundings.config.sender;
    const frameBytesMax = Math.max(frameBytes, surroundings.config.opBytesMax);
    surroundings.checkers.inFlight(this.#sender.bytesInFlight, windowBytes + frameBytesMax);
  }

  #perform(effect: SenderEffect): void {
    const { world, name } = this.#sending.process.machine;
    world.trace(name, () => `to ${this.#target.name}: ${JSON.stringify(effect)}`);
    switch (effect.kind) {
      case "connect":
        this.#connect();
        break;
      case "send":
        this.#send(effect.from, effect.bytesMax);
        break;
      case "heartbeat":
        this.#endpoint?.send({ kind: "heartbeat" });
        break;
      case "close":
        this.#endpoint?.close();
        this.#endpoint = undefined;
        break;
    }
  }

  #connect(): void {
    const { process, source, stream, firstLsn: first, lastLsn: last, surroundings } = this.#sending;
    let isWelcomed = false;
    const ended = (): void => {
      if (endpoint !== this.#endpoint) return;
      endpoint.close();
      this.#endpoint = undefined;
      this.#step({ kind: "disconnected" });
    };
    const endpoint = surroundings.network.open(process.machine, this.#target, process, {
      onClosed: ended,
      onDrain: () => {
        if (endpoint !== this.#endpoint || !isWelcomed) return;
        this.#step({ kind: "writable", isWritable: true });
      },
      onMessage: (message) => {
        if (endpoint !== this.#endpoint) return;
        if ((message.kind === "welcome") === isWelcomed) return ended();
        this.#hear(endpoint, message);
        isWelcomed = true;
      },
    });
    this.#endpoint = endpoint;
    endpoint.send({ kind: "hello", source, stream, first, last });
    // The handshake may hang for ever, and the sender has no limit for it.
    process.after(surroundings.config.connectMs, () => {
      if (!isWelcomed) ended();
    });
  }

  #hear(endpoint: Endpoint, message: Message): void {
    if (message.kind === "welcome") {
      const { durable, applied } = message;
      const { firstLsn, lastLsn } = this.#sending;
      assert(durable >= firstLsn - 1, () => `a target is at ${durable}, ops are from ${firstLsn}`);
      assert(durable <= lastLsn, () => `a target is ahead, at ${durable}`);
      this.#sending.surroundings.checkers.welcomed(endpoint.number, durable);
      this.#step({ kind: "connected", durable, applied });
    } else if (message.kind === "positions") {
      const { durable, applied } = message;
      this.#step({ kind: "positions", durable, applied });
    } else {
      this.#step({ kind: "heard" });
    }
    this.#sending.heard();
  }

  /** Reading takes time, in which the connection may end and another one begin. */
  #send(from: number, bytesMax: number): void {
    const endpoint = this.#endpoint;
    const { process, surroundings } = this.#sending;
    const { config, checkers, parts } = surroundings;
    const readMs = process.machine.world.between(0, config.readMsMax);
    process.after(readMs, () => {
      const isCurrent = endpoint !== undefined && endpoint === this.#endpoint;
      if (!isCurrent && !parts.bringsLateResults) return;
      const ops = isCurrent ? this.#sending.read(from, bytesMax) : [];
      const last = ops.at(-1)?.lsn ?? (isCurrent ? from - 1 : from);
      let isWritable = true;
      if (isCurrent && ops.length > 0) {
        checkers.sent(endpoint.number, ops);
        isWritable = endpoint.send({ kind: "ops", ops });
      }
      if (!isWritable) this.#step({ kind: "writable", isWritable });
      const bytes = ops.reduce((sum, op) => sum + op.bytes, 0);
      this.#allowance -= bytes;
      this.#step({ kind: "sent", last, bytes });
    });
  }
}
