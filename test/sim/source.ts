/**
 * A source: its ring, which outlives the agent and not the machine, applications that write, and
 * the agent that runs a sender for each target in the way that the product's runner has to.
 */
import { assert } from "../../src/base/assert.ts";
import type { SenderEffect, SenderEvent } from "../../src/replication/sender.ts";
import type { Checkers } from "./checkers.ts";
import type { SimConfig } from "./config.ts";
import { type Machine, Process } from "./machine.ts";
import type { Message, Op } from "./messages.ts";
import type { Endpoint, Network } from "./network.ts";
import type { Parts, SenderLike } from "./parts.ts";

const VALUE_COUNT = 2 ** 32;
const EPOCH = 1;

/** In shared memory. */
interface Ring {
  readonly stream: number;
  readonly firstLsn: number;
  /** From firstLsn on. */
  readonly ops: Op[];
  /** Ops up to here were given back. */
  released: number;
}

export interface Surroundings {
  readonly config: SimConfig;
  readonly network: Network;
  readonly checkers: Checkers;
  readonly parts: Parts;
}

export class Source {
  readonly machine: Machine;
  readonly surroundings: Surroundings;
  readonly targets: readonly Machine[];
  ring: Ring;
  agent: SourceAgent | undefined;
  #opsLeft: number;

  constructor(machine: Machine, targets: readonly Machine[], surroundings: Surroundings) {
    this.machine = machine;
    this.targets = targets;
    this.surroundings = surroundings;
    this.#opsLeft = surroundings.config.opsMax;
    this.ring = this.#newRing(1, 1);
  }

  get lastLsn(): number {
    return this.ring.firstLsn + this.ring.ops.length - 1;
  }
  get hasWritten(): boolean {
    return this.#opsLeft === 0;
  }

  #newRing(stream: number, firstLsn: number): Ring {
    this.surroundings.checkers.streamStarted(this.machine.name, stream, firstLsn);
    return { stream, firstLsn, ops: [], released: firstLsn - 1 };
  }

  /** Applications, for as long as there is something left to write. */
  write(): void {
    const { world } = this.machine;
    const { config, checkers } = this.surroundings;
    if (this.#opsLeft === 0) return;
    world.after(world.around(config.writeGapMs), () => this.write());
    if (!this.machine.isUp) return;
    this.#opsLeft -= 1;
    const { prng } = world;
    const { name } = this.machine;
    const bytes = 1 + prng.int(config.opBytesMax);
    const { stream, ops } = this.ring;
    const op = { stream, lsn: this.lastLsn + 1, value: prng.int(VALUE_COUNT), bytes };
    ops.push(op);
    checkers.written(name, EPOCH, name, op);
  }

  startAgent(): void {
    if (this.agent === undefined && this.machine.isUp) this.agent = new SourceAgent(this);
  }

  killAgent(): void {
    if (this.agent === undefined) return;
    this.agent.process.kill();
    if (this.machine.isUp) this.surroundings.network.killed(this.agent.process);
    this.agent = undefined;
  }

  crash(): void {
    this.machine.isUp = false;
    this.surroundings.network.crashed(this.machine);
    this.killAgent();
  }

  /** The ring is another one. Its LSNs are beyond all that any target can have of the old one. */
  restart(): void {
    const { prng } = this.machine.world;
    this.ring = this.#newRing(this.ring.stream + 1, this.lastLsn + 1 + prng.int(3));
    this.machine.isUp = true;
    this.surroundings.network.restarted();
    this.startAgent();
  }

  /** At least one op, those that fit in `bytesMax`; none when there is none yet. */
  read(from: number, bytesMax: number): Op[] {
    const { ops, firstLsn, released } = this.ring;
    assert(from > released, () => `op ${from} is asked for and not kept any more`);
    const read: Op[] = [];
    let bytes = 0;
    for (let index = from - firstLsn; index < ops.length; index++) {
      const op = ops[index] as Op;
      bytes += op.bytes;
      if (read.length > 0 && bytes > bytesMax) break;
      read.push(op);
    }
    return read;
  }

  release(durable: number): void {
    if (durable <= this.ring.released) return;
    this.ring.released = durable;
    this.surroundings.checkers.released(this.machine.name, this.ring.stream, durable);
  }
}

class SourceAgent {
  readonly process: Process;
  readonly source: Source;
  readonly #links: SourceLink[];

  constructor(source: Source) {
    this.source = source;
    this.process = new Process(source.machine);
    this.#links = source.targets.map((target) => new SourceLink(this, target));
    source.machine.world.trace(source.machine.name, () => "agent starts");
  }

  release(): void {
    this.source.release(Math.min(...this.#links.map(({ durable }) => durable)));
  }
}

/** Runs the sender for one target. */
class SourceLink {
  readonly #agent: SourceAgent;
  readonly #source: Source;
  readonly #target: Machine;
  readonly #sender: SenderLike;
  #endpoint: Endpoint | undefined;
  #isStepping = false;
  #allowance = 0;

  constructor(agent: SourceAgent, target: Machine) {
    const { config, parts } = agent.source.surroundings;
    this.#agent = agent;
    this.#source = agent.source;
    this.#target = target;
    this.#sender = parts.sender(0, config.sender);
    agent.process.every(config.tickMs, () => this.#tick());
  }

  get durable(): number {
    return this.#sender.durable;
  }

  #tick(): void {
    const { bytesPerMs, tickMs } = this.#source.surroundings.config;
    if (bytesPerMs !== undefined) {
      this.#allowance = Math.min(this.#allowance + bytesPerMs * tickMs, bytesPerMs * tickMs * 3);
      this.#step({ kind: "allowance", bytes: this.#allowance });
    }
    this.#step({ kind: "available", lsn: this.#source.lastLsn });
    this.#step({ kind: "tick" });
  }

  #step(event: SenderEvent): void {
    const { machine, surroundings } = this.#source;
    assert(!this.#isStepping, "an effect leads to no event before all effects are performed");
    this.#isStepping = true;
    const effects = this.#sender.step(event, machine.nowMs());
    for (const effect of effects) this.#perform(effect);
    this.#isStepping = false;
    const { windowBytes, frameBytes } = surroundings.config.sender;
    const frameBytesMax = Math.max(frameBytes, surroundings.config.opBytesMax);
    surroundings.checkers.inFlight(this.#sender.bytesInFlight, windowBytes + frameBytesMax);
  }

  #perform(effect: SenderEffect): void {
    const { world, name } = this.#source.machine;
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
    const { machine, ring, surroundings } = this.#source;
    const { process } = this.#agent;
    let isWelcomed = false;
    const ended = (): void => {
      if (endpoint !== this.#endpoint) return;
      endpoint.close();
      this.#endpoint = undefined;
      this.#step({ kind: "disconnected" });
    };
    const endpoint = surroundings.network.open(machine, this.#target, process, {
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
    const { stream, released } = ring;
    const first = released + 1;
    const source = machine.name;
    endpoint.send({ kind: "hello", source, stream, first, last: this.#source.lastLsn });
    // The handshake may hang for ever, and the sender has no limit for it.
    process.after(surroundings.config.connectMs, () => {
      if (!isWelcomed) ended();
    });
  }

  #hear(endpoint: Endpoint, message: Message): void {
    if (message.kind === "welcome") {
      const { durable, applied } = message;
      const { released } = this.#source.ring;
      assert(durable >= released, () => `a target is at ${durable}, ops to ${released} are gone`);
      assert(durable <= this.#source.lastLsn, () => `a target is ahead, at ${durable}`);
      this.#source.surroundings.checkers.welcomed(endpoint.number, durable);
      this.#step({ kind: "connected", durable, applied });
    } else if (message.kind === "positions") {
      const { durable, applied } = message;
      this.#step({ kind: "positions", durable, applied });
    } else {
      this.#step({ kind: "heard" });
    }
    this.#agent.release();
  }

  /** Reading takes time, in which the connection may end and another one begin. */
  #send(from: number, bytesMax: number): void {
    const endpoint = this.#endpoint;
    const { config, checkers, parts } = this.#source.surroundings;
    const { world } = this.#source.machine;
    const readMs = world.between(0, config.readMsMax);
    this.#agent.process.after(readMs, () => {
      const isCurrent = endpoint !== undefined && endpoint === this.#endpoint;
      if (!isCurrent && !parts.bringsLateResults) return;
      const ops = isCurrent ? this.#source.read(from, bytesMax) : [];
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
