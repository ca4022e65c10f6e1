/** What goes wrong, and when: only what the design promises to survive, and all of it heals. */
import type { FaultName, SimConfig } from "./config.ts";
import type { Machine } from "./machine.ts";
import type { Network } from "./network.ts";
import type { Source } from "./source.ts";
import type { Target } from "./target.ts";
import type { World } from "./world.ts";

export interface FaultSubjects {
  readonly world: World;
  readonly config: SimConfig;
  readonly network: Network;
  readonly sources: readonly Source[];
  readonly targets: readonly Target[];
}

/** Faults until they are healed for good. */
export class Faults {
  readonly #subjects: FaultSubjects;
  readonly #names: FaultName[];
  #isOver = false;
  count = 0;

  constructor(subjects: FaultSubjects) {
    this.#subjects = subjects;
    const { weights } = subjects.config;
    this.#names = [...weights].flatMap(([name, weight]) => Array<FaultName>(weight).fill(name));
    if (this.#names.length > 0) this.#plan();
  }

  #plan(): void {
    const { world, config } = this.#subjects;
    world.after(world.around(config.faultGapMs), () => {
      if (this.#isOver) return;
      const name = world.prng.pick(this.#names);
      world.trace("fault", () => name);
      this.count += 1;
      this.#strike(name);
      this.#plan();
    });
  }

  #strike(name: FaultName): void {
    const { world, network, sources, targets } = this.#subjects;
    const { prng } = world;
    const source = prng.pick(sources);
    const target = prng.pick(targets);
    const { connected } = network;
    switch (name) {
      case "cut":
        if (connected.length > 0) network.cut(prng.pick(connected));
        break;
      case "hang":
        if (connected.length > 0) network.hang(prng.pick(connected));
        break;
      case "partition":
        this.#partition();
        break;
      case "kill source agent":
        source.killAgent();
        this.#later(() => source.startAgent());
        break;
      case "crash source":
        if (source.machine.isUp) {
          source.crash();
          this.#later(() => source.restart());
        }
        break;
      case "kill target agent":
        target.killAgent();
        this.#later(() => target.startAgent());
        break;
      case "crash target":
        if (target.machine.isUp) {
          target.crash();
          this.#later(() => target.restart());
        }
        break;
      default:
        this.#strikeSlowly(name, source, target);
    }
  }

  #strikeSlowly(name: FaultName, source: Source, target: Target): void {
    const { world, config } = this.#subjects;
    const { copies } = target;
    const disk = copies.length > 0 ? world.prng.pick(copies).disk : undefined;
    if (name === "stop process") {
      const agent = world.prng.pick([source.agent, target.agent]);
      agent?.process.stop(world.around(config.sender.silenceMs / 2));
    } else if (disk !== undefined && name === "failed sync") {
      disk.failsNextSync = true;
    } else if (disk !== undefined && name === "full disk") {
      disk.isFull = true;
      this.#later(() => {
        disk.isFull = false;
      });
    }
  }

  get #machines(): Machine[] {
    const { sources, targets } = this.#subjects;
    return [...sources, ...targets].map(({ machine }) => machine);
  }

  /** Of two machines, in one direction or both. */
  #partition(): void {
    const { world, network } = this.#subjects;
    const [one, other] = world.prng.shuffle(this.#machines) as [Machine, Machine];
    const which = world.prng.int(3);
    if (which !== 0) network.block(one, other);
    if (which !== 1) network.block(other, one);
    this.#later(() => {
      network.unblock(one, other);
      network.unblock(other, one);
    });
  }

  #later(heal: () => void): void {
    const { world, config } = this.#subjects;
    world.after(world.around(config.sender.silenceMs), () => {
      if (!this.#isOver) heal();
    });
  }

  /** From now on nothing fails any more. What hangs still hangs, and nobody has been told. */
  healAll(): void {
    const { network, sources, targets, config, world } = this.#subjects;
    world.trace("fault", () => "all is healed");
    this.#isOver = true;
    network.options.delayMsMax = Math.min(network.options.delayMsMax, config.tickMs);
    network.options.delayMsMin = Math.min(network.options.delayMsMin, config.tickMs);
    for (const target of targets) {
      for (const { disk } of target.copies) {
        disk.isFull = false;
        disk.failsNextSync = false;
      }
      if (target.machine.isUp) target.startAgent();
      else target.restart();
    }
    for (const one of this.#machines) {
      for (const other of this.#machines) network.unblock(one, other);
    }
    for (const source of sources) {
      if (source.machine.isUp) source.startAgent();
      else source.restart();
    }
  }
}
