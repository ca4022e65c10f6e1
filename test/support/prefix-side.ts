/**
 * What a prefix test cuts: a folder that is protected, with its replica, and everything that dies
 * with the server that the folder is on. `standin local`, or two servers.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";

import type { InstanceStatus, ProcessRole } from "../../src/agent/instance-status.ts";
import { Ring } from "../../src/journal/ring.ts";
import { HeaderAt } from "../../src/journal/ring-layout.ts";
import { until } from "./agent-run.ts";
import { LocalRun } from "./local-run.ts";
import { Patience } from "./patience.ts";
import { descendantsOf } from "./process-tree.ts";
import { runCommand } from "./run-command.ts";
import { Servers } from "./two-servers.ts";

const MAIN = join(import.meta.dirname, "../../src/main.ts");
const PROTECTED_MS_MAX = 90_000;
const APPLIED_MS_MAX = 60_000;
const FLUSH_SECONDS = "90";

export interface PrefixSide {
  /** For files that are not protected. */
  readonly folder: string;
  readonly source: string;
  /** Where the replica lies. */
  replica(): string;
  /** Starts on whatever the last kill left; settles when the folder is protected. */
  start(): Promise<void>;
  /** As it was last heard; the folder is in use. */
  isProtected(): boolean;
  flush(): Promise<void>;
  /** How often changes were not recorded. */
  gaps(): number;
  applier(): number;
  /** Of the server that the folder is on. */
  pids(): number[];
  isMounted(): boolean;
  /** All {@link pids} are dead: settles when the replica is what a takeover would find. */
  afterKill(): Promise<void>;
  /** In an orderly way. */
  stop(): Promise<void>;
  clear(): Promise<void>;
}

function gapsOf(shmDir: string): number {
  const ring = Ring.open(`${shmDir}/ring`);
  const gaps = ring.word(HeaderAt.gaps);
  ring.close();
  return gaps;
}

export class LocalSide implements PrefixSide {
  readonly #run = new LocalRun();

  get folder(): string {
    return this.#run.folder;
  }
  get source(): string {
    return this.#run.source;
  }
  replica(): string {
    return this.#run.replica;
  }

  async start(): Promise<void> {
    const patience = new Patience(PROTECTED_MS_MAX);
    this.#run.start();
    await this.#run.waitFor("mounted", PROTECTED_MS_MAX);
    while (!this.isProtected()) {
      const status = JSON.stringify(this.#status(), undefined, 1);
      assert.ok(!patience.isOver(), `not protected in time:\n${this.#run.stderr}${status}`);
      await sleep(50);
    }
  }

  /** As the agent last printed it: once a second. */
  #status(): InstanceStatus | undefined {
    const line = this.#run.lines.findLast(({ event }) => event === "status");
    return line as unknown as InstanceStatus | undefined;
  }

  isProtected(): boolean {
    return this.#status()?.protected === true;
  }

  async flush(): Promise<void> {
    const { state } = this.#run;
    await runCommand(process.execPath, MAIN, "flush", "--timeout", "30", "--state", state);
  }

  gaps(): number {
    const record = readFileSync(`${this.#run.state}/instance.json`, "utf8");
    return gapsOf((JSON.parse(record) as { shmDir: string }).shmDir);
  }

  applier(): number {
    return this.#pid("applier");
  }

  #pid(role: ProcessRole): number {
    const pid = this.#status()?.processes.find((process) => process.role === role)?.pid;
    assert.ok(pid, `the ${role} runs`);
    return pid;
  }

  /** Agent, keeper, engine, spare engine and applier. */
  pids(): number[] {
    const agent = this.#pid("agent");
    return [agent, ...descendantsOf(agent)];
  }

  isMounted(): boolean {
    return this.#run.isMounted();
  }

  async afterKill(): Promise<void> {
    await this.#run.ended();
  }

  async stop(): Promise<void> {
    assert.equal(await this.#run.stop(), 0);
  }

  clear(): Promise<void> {
    return this.#run.clear();
  }
}

/** Each with a network of its own; the first one dies, the replica is on the second. */
export class ServersSide implements PrefixSide {
  readonly #servers: Servers;
  #isMade = false;
  #applier = 0;

  private constructor(servers: Servers) {
    this.#servers = servers;
  }

  static async make(t: TestContext): Promise<ServersSide> {
    return new ServersSide(await Servers.start(t, 2, { isolated: true }));
  }

  get folder(): string {
    return this.#servers.home;
  }
  get source(): string {
    return this.#servers.folder;
  }
  replica(): string {
    return this.#servers.replica();
  }

  async start(): Promise<void> {
    if (this.#isMade) await this.#servers.source.start();
    else await this.#servers.protect();
    this.#isMade = true;
    await this.#servers.untilProtected();
  }

  isProtected(): boolean {
    return this.#servers.status().protected;
  }

  async flush(): Promise<void> {
    // Not in this thread: it may be the application that writes.
    const flush = ["flush", "data", "--timeout", FLUSH_SECONDS] as const;
    const code = await this.#servers.source.commandLater(...flush);
    if (code === 0) return;
    const [source, target] = [this.#servers.status(), this.#servers.replicaStatus()];
    assert.fail(`the flush does not end: ${JSON.stringify([source, target], undefined, 1)}`);
  }

  gaps(): number {
    return gapsOf(this.#servers.shmOf("jobs"));
  }

  applier(): number {
    this.#applier = this.#servers.applier();
    return this.#applier;
  }

  /** Agent, keeper, engine and spare engine. */
  pids(): number[] {
    const { pid } = this.#servers.source;
    assert.ok(pid, "the agent runs");
    return [pid, ...descendantsOf(pid)];
  }

  isMounted(): boolean {
    return this.#servers.isMounted();
  }

  /** What was received is applied. */
  async afterKill(): Promise<void> {
    this.#servers.killSource();
    await this.#servers.source.ended();
    if (this.#applier !== 0) process.kill(this.#applier, "SIGCONT");
    this.#applier = 0;
    await until(
      () => this.#isAllApplied() || undefined,
      () => JSON.stringify(this.#servers.replicaStatus()),
      APPLIED_MS_MAX,
    );
  }

  #isAllApplied(): boolean {
    const status = this.#servers.replicaStatus();
    const { isConnected, receivedLsn, appliedLsn, isComplete } = status;
    assert.ok(isComplete, `what is taken over is complete: ${JSON.stringify(status)}`);
    return !isConnected && appliedLsn === receivedLsn;
  }

  async stop(): Promise<void> {
    assert.equal(this.#servers.source.command("unprotect", "data").code, 0);
    assert.equal(await this.#servers.source.stop(), 0);
    assert.equal(await this.#servers.target.stop(), 0);
  }

  async clear(): Promise<void> {
    this.#servers.clear();
  }
}
