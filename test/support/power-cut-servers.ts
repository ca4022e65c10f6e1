/**
 * Two agents, of which the target has its state and its replica on a disk that records what is
 * written to it: its power can be cut at any instant, and it comes back with what the disk then
 * held. The source works on meanwhile.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import type { JobStatus, ReplicaStatus, SourceStatus } from "../../src/agent/jobs/job-status.ts";
import type { Prng } from "../../src/base/prng.ts";
import { type AgentRun, until } from "./agent-run.ts";
import { killUsersOf } from "./kill-users.ts";
import { CutImages, RecordingDisk } from "./recording-disk.ts";
import { runCommand } from "./run-command.ts";
import { Servers } from "./two-servers.ts";

const DISK_BYTES = 192 << 20;
const PATIENCE_MS = 60_000;

/** Entries of the disk's record, from the moment when the cut is due. */
const ENTRIES_MAX = 200;
/** In which a disk that has less to do than that is given up waiting for. */
const IDLE_MS = 400;

/** Blocks behind the last flush. */
export interface Lost {
  readonly lost: number;
  readonly kept: number;
}

export class PowerCutServers {
  readonly #folder: string;
  readonly #shm: string;
  readonly #disk: RecordingDisk;
  /** What is in the target's memory while it has power. */
  #memory: string | undefined;
  #servers: Servers | undefined;

  private constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), "standin-power-"));
    this.#shm = mkdtempSync("/dev/shm/standin-power-");
    mkdirSync(`${this.#shm}/images`);
    this.#disk = new RecordingDisk(`${this.#shm}/images`, this.#shm, DISK_BYTES);
  }

  /** They run, and their copy is complete; with `fill`, which fills the folder, it is begun. */
  static async start(t: TestContext, fill?: (folder: string) => void): Promise<PowerCutServers> {
    const made = new PowerCutServers();
    // Before the agents are ended: they cannot be while the disk is frozen.
    t.after(() => made.#clear());
    await made.#disk.start(made.#counter);
    const targetState = `${made.#disk.path}/state`;
    made.#servers = await Servers.start(t, 2, { targetState });
    if (fill === undefined) await made.servers.protect();
    else await made.#begin(fill);
    made.#memory = made.servers.shmOf("replicas");
    return made;
  }

  async #begin(fill: (folder: string) => void): Promise<void> {
    const { folder, source } = this.servers;
    fill(folder);
    source.json("protect", folder, "--name", "data", "--to", "s1");
    await this.#untilAnswer(async () => {
      const [target] = (await this.sourceStatus()).targets;
      return (target?.durableLsn ?? 0) > 0 || undefined;
    });
  }

  get servers(): Servers {
    if (this.#servers === undefined) throw new Error("they are not started");
    return this.#servers;
  }
  /** For files that are not protected and not on the recorded disk. */
  get folder(): string {
    return this.#folder;
  }
  get #counter(): string {
    return `${this.#shm}/counter`;
  }

  async sourceStatus(): Promise<SourceStatus> {
    return await jobOf<SourceStatus>(this.servers.source);
  }
  async replicaStatus(): Promise<ReplicaStatus> {
    return await jobOf<ReplicaStatus>(this.servers.target);
  }

  /**
   * The target loses its power, and its disk what `prng` takes of what was not flushed. It happens
   * in the middle of what the disk has to do, where there is something; `writesOut`: what the
   * kernel would keep for half a minute is being written.
   */
  async cut(prng: Prng, writesOut: boolean): Promise<Lost> {
    const { target } = this.servers;
    const sync = ["timeout", "30", "sync", "-f", this.#disk.path] as const;
    const writing = writesOut ? runCommand(...sync).catch(() => {}) : undefined;
    const position = await this.#disk.freeze(1 + prng.int(ENTRIES_MAX), IDLE_MS);
    // With the disk frozen nothing can be acknowledged any more.
    target.kill();
    await this.#endAll(this.#disk.cutOff());
    await target.ended();
    await writing;
    const folder = this.#disk.folder;
    const images = new CutImages(folder);
    const content = `${folder}/content`;
    const found = images.cut(position, content, prng);
    images.close();
    await this.#disk.start(this.#counter, content);
    return found;
  }

  /** Also an applier that the agent was just about to start. */
  async #endAll(cutOff: Promise<void>): Promise<void> {
    let isOff = false;
    const off = cutOff.finally(() => {
      isOff = true;
    });
    while (!isOff) {
      this.#loseMemory();
      await sleep(50);
    }
    await off;
  }

  #loseMemory(): void {
    if (this.#memory === undefined) return;
    killUsersOf(this.#memory);
    rmSync(this.#memory, { recursive: true, force: true });
  }

  /** What the source has counted as durable, when it has heard all that the dead target said. */
  async durableAtSource(): Promise<number> {
    return await this.#untilAnswer(async () => {
      const [target] = (await this.sourceStatus()).targets;
      return target?.isConnected === false ? target.durableLsn : undefined;
    });
  }

  /** The target can reach nobody: the source's agent stands still, its applications do not. */
  holdSource(): void {
    process.kill(this.servers.source.pid ?? 0, "SIGSTOP");
  }
  releaseSource(): void {
    process.kill(this.servers.source.pid ?? 0, "SIGCONT");
  }

  /** All that was in the target's log is applied, and nothing else can be. */
  async untilReplayed(): Promise<ReplicaStatus> {
    return await this.#untilAnswer(async () => {
      const status = await this.replicaStatus();
      const { appliedLsn, durableLsn, problem } = status;
      return appliedLsn === durableLsn && problem === null ? status : undefined;
    });
  }

  /** The target has gone on, and applied what the source has recorded by now. */
  async untilResumed(): Promise<void> {
    const { lsn } = await this.sourceStatus();
    await this.#untilAnswer(async () => {
      const { targets, protected: isProtected } = await this.sourceStatus();
      return (isProtected && targets.every(({ appliedLsn }) => appliedLsn >= lsn)) || undefined;
    });
  }

  async #untilAnswer<T>(probe: () => Promise<T | undefined>): Promise<T> {
    return await until(probe, () => this.described(), PATIENCE_MS);
  }

  described(): string {
    const lines = this.servers.agents.map(({ log }) =>
      log.slice(-30).map((l) => JSON.stringify(l)),
    );
    return lines.map((each, i) => `s${i}:\n${each.join("\n")}`).join("\n");
  }

  async #clear(): Promise<void> {
    for (const agent of this.#servers?.agents ?? []) agent.kill();
    try {
      this.#memory ??= this.#servers?.shmOf("replicas");
    } catch {
      // There is no job.
    }
    await this.#endAll(this.#disk.cutOff());
    // Before what the source's engine captures is taken from below it.
    this.#servers?.clear();
    for (const path of [this.#folder, this.#shm]) rmSync(path, { recursive: true, force: true });
  }
}

/** Agents that start do not answer yet. */
async function jobOf<T extends JobStatus>(agent: AgentRun): Promise<T> {
  const { jobs } = await agent.ask<{ jobs: T[] }>("jobs");
  if (jobs[0] === undefined) throw new Error("the agent has no job");
  return jobs[0];
}
