/**
 * Servers of one fleet on one machine: an agent each, with a state folder and a loopback port of
 * its own; the first one has a folder to protect.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import type { TestContext } from "node:test";

import type { JobStatus, ReplicaStatus, SourceStatus } from "../../src/agent/jobs/job-status.ts";
import { Ring } from "../../src/journal/ring.ts";
import { HeaderAt } from "../../src/journal/ring-layout.ts";
import { shortHash } from "../../src/platform/files.ts";
import { readMountTable } from "../../src/platform/mount-table.ts";
import { AgentRun, until } from "./agent-run.ts";
import { describeRing } from "./describe-ring.ts";
import { freePort } from "./free-port.ts";
import { IsolatedNetwork } from "./isolated-network.ts";
import { killQuietly, killUsersOf } from "./kill-users.ts";
import { readOpAccount } from "./op-account.ts";

const JOB = "data";
const FLUSH_SECONDS = 240;
/** For a new process to take over; this machine may be busy with others' work. */
const PROCESS_MS = 60_000;

export interface ServersOptions {
  /** The first one on a machine of its own, as far as the network goes. */
  readonly isolated?: boolean;
  readonly targetPrefix?: readonly string[];
  readonly targetState?: string;
  /** The second one sends on to all others; else the first one sends to each. */
  readonly isChained?: boolean;
}

export class Servers {
  readonly agents: readonly AgentRun[];
  readonly folder: string;
  /** All that {@link protect} protects: {@link folder} and what a test adds. */
  readonly folders: string[];
  readonly home: string;
  readonly #firstPasses = new Map<AgentRun, number>();
  readonly #isChained: boolean;
  #network: IsolatedNetwork | undefined;

  private constructor(agents: readonly AgentRun[], home: string, isChained: boolean) {
    this.agents = agents;
    this.home = home;
    this.#isChained = isChained;
    this.folder = join(home, "source");
    this.folders = [this.folder];
    mkdirSync(this.folder);
  }

  /**
   * The agents run, and know each other; they are called s0, s1, … `targetPrefix`: a command that
   * runs those that have no folder somewhere else. `targetState`: the state folder of the last one.
   */
  static async start(
    t: TestContext,
    count = 2,
    { isolated = false, targetPrefix = [], targetState, isChained = false }: ServersOptions = {},
  ): Promise<Servers> {
    const home = mkdtempSync(join(tmpdir(), "standin-servers-"));
    const agents: AgentRun[] = [];
    // Registered first, so that it runs when the agents are ended.
    const made: { servers?: Servers } = {};
    t.after(() => made.servers?.clear());
    const network = isolated ? new IsolatedNetwork(t) : undefined;
    // The first one on a machine of its own, all others on another.
    const machineOf = (i: number) => network?.machines[i === 0 ? 0 : 1];
    const prefixOf = (i: number) => (i === 0 ? undefined : targetPrefix);
    for (let i = 0; i < count; i++) {
      const state = i === count - 1 ? targetState : undefined;
      agents.push(new AgentRun(t, { prefix: machineOf(i)?.prefix ?? prefixOf(i), state }));
    }
    const servers = new Servers(agents, home, isChained);
    made.servers = servers;
    const [first, ...others] = agents;
    servers.#network = network;
    const addressOf = (i: number) => machineOf(i)?.address ?? "127.0.0.1";
    await first?.start("--listen", `${addressOf(0)}:0`, "--name", "s0");
    for (const [i, agent] of others.entries()) {
      const token = String(first?.json("invite").token);
      const listen = `${addressOf(i + 1)}:${await freePort()}`;
      agent.json("join", token, "--listen", listen, "--name", `s${i + 1}`);
      await agent.start();
    }
    return servers;
  }

  get source(): AgentRun {
    return this.agents[0] as AgentRun;
  }
  get target(): AgentRun {
    return this.agents[1] as AgentRun;
  }
  /** All but the source. */
  get targets(): readonly AgentRun[] {
    return this.agents.slice(1);
  }

  /** Another folder that is protected with the first one, `name` beside it. */
  addFolder(name: string): string {
    const folder = join(this.home, name);
    mkdirSync(folder, { recursive: true });
    this.folders.push(folder);
    return folder;
  }

  /** Protects the folders with replicas on all others, and waits until they are complete. */
  async protect(...options: string[]): Promise<void> {
    const names = this.targets.map((_, i) =>
      this.#isChained && i > 0 ? `s1/s${i + 1}` : `s${i + 1}`,
    );
    this.source.json("protect", ...this.folders, "--name", JOB, ...options, "--to", ...names);
    this.flush();
    for (const agent of this.targets) {
      this.#firstPasses.set(agent, readOpAccount(this.replicaShm(agent)).passes);
    }
  }

  /**
   * Passes that the first copy took: two, about once in forty, where the applier has copied a
   * nearly empty folder before its agent asks it to. Those behind them have mended something.
   */
  firstPasses(agent: AgentRun = this.target): number {
    return this.#firstPasses.get(agent) ?? 1;
  }

  /** @throws with what is known of both ends, when it takes too long */
  flush(): void {
    try {
      this.source.json("flush", JOB, "--timeout", String(FLUSH_SECONDS));
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.#describe()}`, { cause: error });
    }
  }

  #describe(): string {
    const folders = [...this.#shared("jobs"), ...this.#shared("replicas")];
    const facts = [
      ...folders.map((folder) => describeRing(`${folder}/ring`)),
      ...this.agents.map((agent) => agent.command("jobs", "--json").stdout.trim()),
      ...this.agents.flatMap(({ log }) => log.slice(-15)),
    ];
    return facts.map((fact) => JSON.stringify(fact)).join("\n");
  }

  status(): SourceStatus {
    const jobs = this.source.json("jobs").jobs as JobStatus[];
    const found = jobs.find(({ role }) => role === "source");
    if (found === undefined) throw new Error("the source has no job");
    return found as SourceStatus;
  }

  replicaStatus(agent: AgentRun = this.target): ReplicaStatus {
    const jobs = agent.json("jobs").jobs as JobStatus[];
    const found = jobs.find(({ role }) => role === "target");
    if (found === undefined) throw new Error("the target has no job");
    return found as ReplicaStatus;
  }

  /** Where the replica of a folder is on the disk of an agent. */
  replica(agent: AgentRun = this.target, folder: string = this.folder): string {
    const found = this.replicaStatus(agent).folders.find(({ path }) => path === folder);
    if (found === undefined) throw new Error(`there is no replica of ${folder}`);
    return found.replica;
  }

  async untilProtected(): Promise<void> {
    await until(
      () => this.status().protected || undefined,
      () => JSON.stringify(this.status()),
      60_000,
    );
  }

  async untilConnected(): Promise<void> {
    await until(
      () => this.status().targets.every(({ isConnected }) => isConnected) || undefined,
      () => JSON.stringify(this.status()),
      60_000,
    );
  }

  /** What the target does not take goes to the source's disk. */
  async untilSpilled(): Promise<void> {
    await until(
      () => this.status().spilledBytes > 0 || undefined,
      () => JSON.stringify(this.status()),
    );
  }

  /** Whether all folders are. */
  isMounted(): boolean {
    return this.#mounted().length === this.folders.length;
  }

  #mounted(): string[] {
    const mounted = new Set(readMountTable().map(({ path }) => path));
    return this.folders.filter((folder) => mounted.has(folder));
  }

  /** All that belongs to the source dies at once, as with its machine. */
  killSource(): void {
    this.source.kill();
    for (const folder of this.#shared("jobs")) killUsersOf(folder);
    for (const folder of this.folders) spawnSync("umount", ["-l", folder]);
  }

  /** Shared memory of the jobs that the agents send or receive. */
  #shared(role: "jobs" | "replicas"): string[] {
    const prefix = role === "jobs" ? "standin-from-" : "standin-to-";
    const ids = this.agents.flatMap(({ state }) => namesIn(`${state}/${role}`));
    return namesIn("/dev/shm")
      .filter((name) => ids.some((id) => name.startsWith(`${prefix}${id}`)))
      .map((name) => `/dev/shm/${name}`);
  }

  /** The target's machine starts anew: what was in its memory is gone. */
  loseTargetMemory(agent: AgentRun = this.target): void {
    const folder = this.replicaShm(agent);
    killUsersOf(folder);
    rmSync(folder, { recursive: true, force: true });
  }

  /** The same of the source. */
  loseSourceMemory(): void {
    for (const folder of this.#shared("jobs")) rmSync(folder, { recursive: true, force: true });
  }

  /** Between the source and all others. */
  get network(): IsolatedNetwork {
    if (this.#network === undefined) throw new Error("the servers share one network");
    return this.#network;
  }

  /** Shared memory of the job: of the sending side, or of the receiving side. */
  shmOf(role: "jobs" | "replicas"): string {
    if (role === "replicas") return this.replicaShm(this.target);
    const [found] = this.#shared(role);
    if (found === undefined) throw new Error(`no shared memory of ${role}`);
    return found;
  }

  /** Of the receiving side on one server. */
  replicaShm(agent: AgentRun): string {
    const [id] = namesIn(`${agent.state}/replicas`);
    if (id === undefined) throw new Error("the agent has no replica");
    return `/dev/shm/standin-to-${id}-${shortHash(`${agent.state}/replicas/${id}`)}`;
  }

  /** Takes an LSN of the ring as a writer does, who is then killed before it publishes. */
  takeLsn(role: "jobs" | "replicas"): void {
    const ring = Ring.open(`${this.shmOf(role)}/ring`);
    ring.addWord(HeaderAt.head, 1);
    ring.close();
  }

  killEngine(): void {
    killQuietly(this.#word("jobs", HeaderAt.enginePid));
  }

  /** Keeper, engine and spare engine, but not the agent. */
  killCapture(): void {
    for (const folder of this.#shared("jobs")) killUsersOf(folder);
  }

  /** Kills the engine, and waits until another serves. */
  async replaceEngine(): Promise<void> {
    const before = this.#word("jobs", HeaderAt.engineGeneration);
    this.killEngine();
    await until(
      () => this.#word("jobs", HeaderAt.engineGeneration) !== before || undefined,
      () => "no new engine",
      PROCESS_MS,
    );
  }

  /** Of the target. */
  applier(): number {
    return this.#word("replicas", HeaderAt.readerPid);
  }

  /** Kills the applier of the target, and waits until another works. */
  async replaceApplier(): Promise<void> {
    const before = this.applier();
    killQuietly(before);
    await until(
      () => this.applier() !== before || undefined,
      () => "no new applier",
      PROCESS_MS,
    );
  }

  #word(role: "jobs" | "replicas", at: number): number {
    const ring = Ring.open(`${this.shmOf(role)}/ring`);
    try {
      return ring.word(at);
    } finally {
      ring.close();
    }
  }

  async untilUnmounted(): Promise<void> {
    await until(
      () => this.#mounted().length === 0 || undefined,
      () => "it is still mounted",
    );
  }

  /**
   * Promotes on the target with `options`; its agent is killed when the start command has made the
   * file `started`, and started again. Settles when the promotion is complete.
   */
  async promoteWithKill(started: string, ...options: string[]): Promise<void> {
    const promoting = this.target.commandLater("promote", JOB, ...options);
    await until(
      () => existsSync(started) || undefined,
      () => "the start command does not start",
    );
    this.target.kill();
    await this.target.ended();
    assert.equal(await promoting, 1, "the command says that the agent is gone");
    await this.target.start();
    await until(
      () => this.replicaStatus().promotion?.isDone || undefined,
      () => JSON.stringify(this.replicaStatus()),
    );
  }

  /** What is left of keepers, engines, appliers, mounts and shared memory. */
  clear(): void {
    for (const agent of this.agents) agent.kill();
    const folders = [...this.#shared("jobs"), ...this.#shared("replicas")];
    for (const folder of folders) killUsersOf(folder);
    for (const { path } of readMountTable().toReversed()) {
      if (path.startsWith(`${this.home}/`)) spawnSync("umount", ["-l", path]);
    }
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
    rmSync(this.home, { recursive: true, force: true });
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
