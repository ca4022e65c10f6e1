/**
 * A target: disks with a log for each source, replicas, and the agent that runs a receiver for each
 * source in the way that the product's runner has to.
 */
import { assert } from "../../src/base/assert.ts";
import type { ReceiverEffect, ReceiverEvent } from "../../src/replication/receiver.ts";
import { type Machine, Process } from "./machine.ts";
import type { Message, Op } from "./messages.ts";
import type { Endpoint } from "./network.ts";
import { firstOf, OpLink, type Sending } from "./op-link.ts";
import type { ReceiverLike } from "./parts.ts";
import { SegmentDisk } from "./segment-disk.ts";
import type { Surroundings } from "./source.ts";
import { ModelDisk, type TargetDisk, type TargetLog } from "./target-log.ts";

/** How often a replica's file system writes down what was done to it, in ticks. */
const CHECKPOINT_TICKS = 3;

/** What one source's copy leaves behind on a target, whatever dies. */
interface Copy {
  readonly source: string;
  /** Targets that get the ops from this one. */
  readonly onward: readonly Machine[];
  readonly disk: TargetDisk;
  /** The position of the replica, in shared memory: it survives the agent, not the machine. */
  applied: { stream: number; lsn: number };
  /** What a power cut leaves of the replica. */
  checkpoint: { stream: number; lsn: number };
}

export class Target {
  readonly machine: Machine;
  readonly surroundings: Surroundings;
  readonly copies: readonly Copy[];
  agent: TargetAgent | undefined;

  constructor(
    machine: Machine,
    copies: readonly Pick<Copy, "source" | "onward">[],
    surroundings: Surroundings,
  ) {
    this.machine = machine;
    this.surroundings = surroundings;
    const { logKind, disk } = surroundings.config;
    const { world } = machine;
    this.copies = copies.map((copy) => ({
      ...copy,
      disk: logKind === "model" ? new ModelDisk(world, disk) : new SegmentDisk(world, disk),
      applied: { stream: 0, lsn: 0 },
      checkpoint: { stream: 0, lsn: 0 },
    }));
  }

  startAgent(): void {
    if (this.agent === undefined && this.machine.isUp) this.agent = new TargetAgent(this);
  }

  killAgent(): void {
    if (this.agent === undefined) return;
    this.agent.process.kill();
    this.surroundings.network.listen(this.machine, undefined);
    if (this.machine.isUp) {
      this.surroundings.network.killed(this.agent.process);
      for (const { disk } of this.copies) disk.killed();
    }
    this.agent = undefined;
  }

  crash(): void {
    this.machine.isUp = false;
    this.surroundings.network.crashed(this.machine);
    this.killAgent();
    for (const copy of this.copies) {
      copy.disk.cutPower();
      copy.applied = copy.checkpoint;
      const { stream, lsn } = copy.checkpoint;
      const { name } = this.machine;
      this.surroundings.checkers.replicaWentBack(copy.source, name, stream, lsn);
    }
  }

  restart(): void {
    this.machine.isUp = true;
    this.surroundings.network.restarted();
    this.startAgent();
  }
}

class TargetAgent {
  readonly process: Process;
  readonly target: Target;
  readonly #feeds: Map<string, Feed>;

  constructor(target: Target) {
    const { machine, surroundings } = target;
    this.target = target;
    this.process = new Process(machine);
    machine.world.trace(machine.name, () => "agent starts");
    this.#feeds = new Map(target.copies.map((copy) => [copy.source, new Feed(this, copy)]));
    surroundings.network.listen(machine, (endpoint) => this.#accept(endpoint));
  }

  /** What is on the disk is not known any more: the log has to be opened anew. */
  restart(): void {
    this.target.killAgent();
    this.target.startAgent();
  }

  #accept(endpoint: Endpoint): void {
    let feed: Feed | undefined;
    endpoint.own(this.process, {
      onMessage: (message) => {
        if (feed === undefined && message.kind === "hello") {
          feed = this.#feeds.get(message.source);
          feed?.opened(endpoint, message);
        } else {
          feed?.heard(endpoint, message);
        }
      },
      onClosed: () => feed?.closed(endpoint),
    });
  }
}

/** Runs the receiver for one source, and the applier. */
class Feed {
  readonly #agent: TargetAgent;
  readonly #copy: Copy;
  #log: TargetLog | undefined;
  #receiver: ReceiverLike | undefined;
  readonly #endpoints = new Map<number, Endpoint>();
  /** Numbers in the order in which hellos came, which is what the receiver wants. */
  readonly #numbers = new Map<Endpoint, number>();
  #opened = 0;
  #frame: readonly Op[] | undefined;
  #isStepping = false;
  #isStarting = false;
  #isApplying = false;
  #nextToApply: number;
  #ticks = 0;
  #links: readonly OpLink[] = [];

  constructor(agent: TargetAgent, copy: Copy) {
    this.#agent = agent;
    this.#copy = copy;
    const { checkers, config, parts } = agent.target.surroundings;
    this.#nextToApply = parts.applyFrom(copy.applied.lsn);
    copy.disk.open(agent.process, (log) => {
      checkers.reopened(copy.source, agent.target.machine.name, log.ops);
      this.#log = log;
      this.#receive(log);
    });
    agent.process.every(config.tickMs, () => this.#tick());
  }

  #receive(log: TargetLog): void {
    const { parts, config } = this.#agent.target.surroundings;
    const durable = log.appendedLsn;
    const applied = Math.min(this.#copy.applied.lsn, durable);
    const receiver = parts.receiver(durable, applied, config.receiver);
    this.#receiver = receiver;
    const sending = this.#sendingOn(log, receiver);
    this.#links = this.#copy.onward.map((target) => new OpLink(sending, target));
  }

  /** What is on the disk of the stream in hand. */
  #sendingOn(log: TargetLog, receiver: ReceiverLike): Sending {
    const { process, target } = this.#agent;
    const { surroundings } = target;
    const upTo = () => surroundings.parts.sendsOnUpTo(receiver.durable, log.appendedLsn);
    return {
      source: this.#copy.source,
      process,
      surroundings,
      stream: log.stream,
      get firstLsn() {
        return log.ops.find(({ stream }) => stream === log.stream)?.lsn ?? log.appendedLsn + 1;
      },
      get lastLsn() {
        return upTo();
      },
      read: (from, bytesMax) => {
        const { ops } = log;
        const kept = ops.slice(lowerBound(ops, from), lowerBound(ops, upTo() + 1));
        return firstOf(kept, 0, bytesMax);
      },
      heard: () => {},
    };
  }

  /** The first message of a connection. */
  opened(endpoint: Endpoint, hello: Message & { kind: "hello" }): void {
    const log = this.#log;
    // A hello that was long on its way, of a life of the ring that is over: it must not come back.
    if (log === undefined || this.#isStarting || hello.stream < log.stream) endpoint.close();
    else if (hello.stream > log.stream) this.#startStream(log, endpoint, hello);
    else if (this.#receiver === undefined) endpoint.close();
    else this.#open(endpoint);
  }

  #open(endpoint: Endpoint): void {
    this.#opened += 1;
    this.#endpoints.set(this.#opened, endpoint);
    this.#numbers.set(endpoint, this.#opened);
    this.#step({ kind: "opened", connection: this.#opened });
  }

  /** The source has another ring: what the old connections still bring is of no use. */
  #startStream(log: TargetLog, endpoint: Endpoint, hello: Message & { kind: "hello" }): void {
    for (const [, old] of this.#endpoints) old.close();
    this.#endpoints.clear();
    this.#numbers.clear();
    this.#receiver = undefined;
    for (const link of this.#links) link.stop();
    this.#isStarting = true;
    log.startStream(hello.stream, hello.first, ({ kind }) => {
      this.#isStarting = false;
      if (kind === "failed") return this.#agent.restart();
      // Else the disk is full: nothing is done for the old stream any more, and the next hello asks
      // again.
      if (kind === "synced") this.#receive(log);
      if (kind === "synced" && endpoint.isOpen) this.#open(endpoint);
      else endpoint.close();
    });
  }

  heard(endpoint: Endpoint, message: Message): void {
    const connection = this.#numbers.get(endpoint);
    if (connection === undefined) return;
    if (message.kind === "ops") {
      const [first, last] = [message.ops[0]?.lsn ?? 0, message.ops.at(-1)?.lsn ?? 0];
      this.#frame = message.ops;
      const bytes = message.ops.reduce((sum, op) => sum + op.bytes, 0);
      this.#step({ kind: "ops", connection, first, last, bytes });
      this.#frame = undefined;
    } else {
      this.#step({ kind: "heard", connection });
    }
  }

  closed(endpoint: Endpoint): void {
    const connection = this.#numbers.get(endpoint);
    if (connection === undefined) return;
    this.#forget(connection);
    this.#step({ kind: "closed", connection });
  }

  #forget(connection: number): void {
    const endpoint = this.#endpoints.get(connection);
    if (endpoint !== undefined) this.#numbers.delete(endpoint);
    this.#endpoints.delete(connection);
  }

  #tick(): void {
    this.#step({ kind: "tick" });
    this.#apply();
    this.#ticks += 1;
    if (this.#ticks % CHECKPOINT_TICKS === 0) this.#copy.checkpoint = this.#copy.applied;
  }

  #step(event: ReceiverEvent): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return;
    assert(!this.#isStepping, "an effect leads to no event before all effects are performed");
    this.#isStepping = true;
    const { machine, surroundings } = this.#agent.target;
    for (const effect of receiver.step(event, machine.nowMs())) this.#perform(effect, receiver);
    this.#isStepping = false;
    const open = [...this.#endpoints].filter(([, { isOpen }]) => isOpen);
    const numbers = open.map(([, { number }]) => number);
    surroundings.checkers.connections(this.#copy.source, machine.name, numbers);
  }

  #perform(effect: ReceiverEffect, receiver: ReceiverLike): void {
    const { machine, surroundings } = this.#agent.target;
    const log = this.#log as TargetLog;
    switch (effect.kind) {
      case "append":
        log.append(this.#frame ?? []);
        surroundings.checkers.logged(this.#copy.source, machine.name, log.ops);
        break;
      case "sync":
        this.#sync(log, receiver);
        break;
      case "welcome":
        this.#acknowledge(log, effect.durable);
        this.#endpoints.get(effect.connection)?.send(effect);
        break;
      case "positions":
        this.#acknowledge(log, effect.durable);
        this.#endpoints.get(effect.connection)?.send(effect);
        break;
      case "close":
        machine.world.trace(machine.name, () => {
          return `closes #${this.#endpoints.get(effect.connection)?.number}: ${effect.reason}`;
        });
        this.#endpoints.get(effect.connection)?.close();
        this.#forget(effect.connection);
        break;
    }
  }

  #acknowledge(log: TargetLog, durable: number): void {
    const { machine, surroundings } = this.#agent.target;
    const { source } = this.#copy;
    surroundings.checkers.acknowledged(source, machine.name, log.stream, durable);
  }

  #sync(log: TargetLog, receiver: ReceiverLike): void {
    const { target } = this.#agent;
    log.sync((result) => {
      target.machine.world.trace(target.machine.name, () => JSON.stringify(result));
      if (result.kind === "failed") {
        this.#agent.restart();
      } else if (this.#receiver === receiver) {
        this.#step(result);
        this.#apply();
      }
    });
  }

  /** One op after the other, of what is durable. */
  #apply(): void {
    if (this.#isApplying) return;
    const ops = this.#log?.ops ?? [];
    const op = ops[lowerBound(ops, this.#nextToApply)];
    if (op === undefined || op.lsn > (this.#receiver?.durable ?? 0)) return;
    this.#isApplying = true;
    const { machine, surroundings } = this.#agent.target;
    const applyMs = machine.world.between(0, surroundings.config.applyMsMax);
    this.#agent.process.after(applyMs, () => {
      this.#isApplying = false;
      this.#nextToApply = op.lsn + 1;
      this.#copy.applied = { stream: op.stream, lsn: op.lsn };
      surroundings.checkers.applied(this.#copy.source, machine.name, op);
      this.#step({ kind: "applied", lsn: op.lsn });
      this.#apply();
    });
  }
}

/** Index of the first op whose LSN is not below `lsn`. */
function lowerBound(ops: readonly Op[], lsn: number): number {
  let [low, high] = [0, ops.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ops[middle] as Op).lsn < lsn) low = middle + 1;
    else high = middle;
  }
  return low;
}
