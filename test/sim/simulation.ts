/**
 * Runs one seed: sources, targets, the network between them and faults, in virtual time. The same
 * seed does the same on every machine.
 */
import { Checkers } from "./checkers.ts";
import { configOf, type SimConfig } from "./config.ts";
import { Faults } from "./faults.ts";
import { Machine } from "./machine.ts";
import { Network } from "./network.ts";
import { type Parts, PRODUCT_PARTS } from "./parts.ts";
import { Source } from "./source.ts";
import { Target } from "./target.ts";
import { Violation, World } from "./world.ts";

export interface Outcome {
  readonly seed: number;
  readonly failure: Failure | undefined;
  readonly events: number;
  readonly faults: number;
  readonly opsApplied: number;
  readonly virtualMs: number;
}

export interface Failure {
  /** Of the checker that found it; "assert" when the product itself stopped. */
  readonly checker: string;
  readonly message: string;
  /** What happened before, when it was traced. */
  readonly lines: readonly string[];
}

export interface RunOptions {
  readonly parts?: Parts;
  readonly isTraced?: boolean;
  readonly print?: (line: string) => void;
  /** Checkers that say nothing. */
  readonly without?: readonly string[];
  /** Instead of the seed's own. */
  readonly config?: Partial<SimConfig>;
}

/** A run that has more is not getting anywhere. */
const EVENTS_MAX = 1_000_000;

export async function simulate(seed: number, options: RunOptions = {}): Promise<Outcome> {
  const { parts = PRODUCT_PARTS, isTraced = false, print } = options;
  const config = { ...configOf(seed), ...options.config };
  const world = new World(seed, { isKept: isTraced, print });
  const run = new Run(world, config, parts, options.without);
  let failure: Failure | undefined;
  try {
    await run.toTheEnd();
  } catch (error) {
    const checker = error instanceof Violation ? error.checker : "assert";
    const message = error instanceof Violation ? error.message : String((error as Error).stack);
    failure = { checker, message, lines: world.lastLines };
  }
  const { events, faults, opsApplied } = run;
  return { seed, failure, events, faults, opsApplied, virtualMs: world.nowMs };
}

class Run {
  readonly #world: World;
  readonly #config: SimConfig;
  readonly #checkers: Checkers;
  readonly #sources: readonly Source[];
  readonly #faults: Faults;
  #isDone = false;
  events = 0;

  constructor(world: World, config: SimConfig, parts: Parts, without?: readonly string[]) {
    this.#checkers = new Checkers(without);
    this.#world = world;
    this.#config = config;
    const network = new Network(world, { ...config.network });
    const surroundings = { config, network, checkers: this.#checkers, parts };
    const targetMachines = this.#machines("target", config.targetCount);
    const sourceMachines = this.#machines("source", config.jobs.length);
    const machinesOf = (indexes: readonly number[]) => {
      return indexes.map((index) => targetMachines[index] as Machine);
    };
    this.#sources = config.jobs.map(({ targets }, index) => {
      const machines = machinesOf(targets);
      return new Source(sourceMachines[index] as Machine, machines, surroundings);
    });
    const targets = targetMachines.map((machine, at) => {
      const copies = config.jobs.flatMap(({ targets: direct, onward }, index) => {
        const source = sourceMachines[index]?.name ?? "";
        const isBehind = onward.includes(at);
        if (!isBehind && !direct.includes(at)) return [];
        const before = isBehind ? targetMachines[direct[0] as number]?.name : undefined;
        this.#checkers.addPair(source, machine.name, before);
        // All that are behind another are behind the first.
        return [{ source, onward: at === direct[0] ? machinesOf(onward) : [] }];
      });
      return new Target(machine, copies, surroundings);
    });
    for (const target of targets) target.startAgent();
    for (const source of this.#sources) {
      source.startAgent();
      source.write();
    }
    this.#faults = new Faults({ world, config, network, sources: this.#sources, targets });
    world.after(config.chaosMs, () => this.#heal());
  }

  get faults(): number {
    return this.#faults.count;
  }
  get opsApplied(): number {
    return this.#checkers.opsApplied;
  }

  #machines(kind: string, count: number): Machine[] {
    return Array.from({ length: count }, (_, index) => {
      const drift = this.#world.between(-1, 1) * this.#config.clockDrift;
      const offsetMs = this.#world.prng.int(1_000_000);
      return new Machine(this.#world, `${kind}${index}`, { rate: 1 + drift, offsetMs });
    });
  }

  #heal(): void {
    const { settleMs, tickMs } = this.#config;
    const deadlineMs = this.#world.nowMs + settleMs;
    this.#faults.healAll();
    const look = (): void => {
      const hasWritten = this.#sources.every((source) => source.hasWritten);
      this.#isDone = hasWritten && this.#checkers.incomplete === undefined;
      if (this.#isDone) return;
      if (this.#world.nowMs > deadlineMs) this.#checkers.healed();
      this.#world.after(tickMs, look);
    };
    look();
  }

  async toTheEnd(): Promise<void> {
    const world = this.#world;
    while (!this.#isDone) {
      const event = world.queue.next();
      if (event === undefined) throw new Violation("liveness", "nothing is going to happen");
      this.events += 1;
      if (this.events > EVENTS_MAX) throw new Violation("liveness", "it goes round in circles");
      event();
      if (world.promisesUnderWay > 0) await promisesToSettle();
      if (world.failure !== undefined) throw world.failure;
    }
  }
}

/** All that promises can do without another event happens before it. */
function promisesToSettle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
