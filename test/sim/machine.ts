/** A machine with a clock of its own, and the processes that come and go on it. */
import type { World } from "./world.ts";

export class Machine {
  readonly name: string;
  readonly world: World;
  isUp = true;
  /** Local milliseconds in one of true time. */
  readonly #rate: number;
  readonly #offsetMs: number;

  constructor(world: World, name: string, clock: { rate: number; offsetMs: number }) {
    this.world = world;
    this.name = name;
    this.#rate = clock.rate;
    this.#offsetMs = clock.offsetMs;
  }

  /** The machine's monotonic clock. */
  nowMs(): number {
    return this.#offsetMs + this.world.nowMs * this.#rate;
  }

  trueMs(localMs: number): number {
    return localMs / this.#rate;
  }
}

/** One life of a process: what it was about to do dies with it, what is stopped waits. */
export class Process {
  readonly machine: Machine;
  #isDead = false;
  #stoppedUntilMs = 0;

  constructor(machine: Machine) {
    this.machine = machine;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  kill(): void {
    this.#isDead = true;
  }

  /** As SIGSTOP and SIGCONT do, or a machine that is short of memory. */
  stop(forMs: number): void {
    this.#stoppedUntilMs = Math.max(this.#stoppedUntilMs, this.machine.world.nowMs + forMs);
  }

  /** By the machine's clock. */
  after(localMs: number, run: () => void): void {
    this.machine.world.after(this.machine.trueMs(localMs), () => this.post(run));
  }

  /** Now, or when the process goes on. */
  post(run: () => void): void {
    if (this.#isDead) return;
    const { world } = this.machine;
    const waitMs = this.#stoppedUntilMs - world.nowMs;
    if (waitMs > 0) world.after(waitMs, () => this.post(run));
    else run();
  }

  every(localMs: number, run: () => void): void {
    this.after(localMs, () => {
      run();
      this.every(localMs, run);
    });
  }
}
