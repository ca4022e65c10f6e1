/**
 * A source: its ring, which outlives the agent and not the machine, applications that write, and
 * the agent that has a link to each target.
 */
import { assert } from "../../src/base/assert.ts";
import type { Checkers } from "./checkers.ts";
import type { SimConfig } from "./config.ts";
import { type Machine, Process } from "./machine.ts";
import type { Op } from "./messages.ts";
import type { Network } from "./network.ts";
import { firstOf, OpLink, type Sending } from "./op-link.ts";
import type { Parts } from "./parts.ts";

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

  read(from: number, bytesMax: number): Op[] {
    const { ops, firstLsn, released } = this.ring;
    assert(from > released, () => `op ${from} is asked for and not kept any more`);
    return firstOf(ops, from - firstLsn, bytesMax);
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
  readonly #links: OpLink[];

  constructor(source: Source) {
    this.source = source;
    this.process = new Process(source.machine);
    this.#links = source.targets.map((target) => new OpLink(this.#sending(), target));
    source.machine.world.trace(source.machine.name, () => "agent starts");
  }

  #sending(): Sending {
    const { source, process } = this;
    const { machine, surroundings } = source;
    return {
      source: machine.name,
      process,
      surroundings,
      get stream() {
        return source.ring.stream;
      },
      get firstLsn() {
        return source.ring.released + 1;
      },
      get lastLsn() {
        return source.lastLsn;
      },
      read: (from, bytesMax) => source.read(from, bytesMax),
      heard: () => source.release(Math.min(...this.#links.map(({ durable }) => durable))),
    };
  }
}
