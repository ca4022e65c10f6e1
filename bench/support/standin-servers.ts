/** Two agents on loopback, and a job from one to the other, as an operator sets it up. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import type { AgentRequest } from "../../src/agent/agent-request.ts";
import { agentSocket } from "../../src/agent/agent-state.ts";
import { ControlClient } from "../../src/agent/control-client.ts";
import type { JobStatus, SourceStatus } from "../../src/agent/jobs/job-status.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { readMountTable } from "../../src/platform/mount-table.ts";
import { freePort } from "../../test/support/free-port.ts";
import { killUsersOf } from "../../test/support/kill-users.ts";
import type { Cleanup } from "./cleanup.ts";
import { runCommand } from "./run-command.ts";

const MAIN = join(import.meta.dirname, "../../src/main.ts");
const JOB = "bench";
const POLL_MS = 20;
const START_MS = 60_000;
const COMMAND_MS = 3_600_000;

type Control = ControlClient<Omit<AgentRequest, "id">>;

interface Agent {
  readonly name: string;
  readonly state: string;
  readonly port: number;
  child: ChildProcess | undefined;
}

export class StandinServers {
  readonly #agents: readonly [Agent, Agent];
  #source = "";
  #connection: Promise<Control> | undefined;

  private constructor(agents: readonly [Agent, Agent]) {
    this.#agents = agents;
  }

  /** `home` and `targetHome`: for the agents' state, the target's log among it. */
  static async start(cleanup: Cleanup, home: string, targetHome = home): Promise<StandinServers> {
    for (const folder of [home, targetHome]) mkdirSync(folder, { recursive: true });
    const [port1, port2] = [await freePort(), await freePort()];
    const first: Agent = { name: "first", state: `${home}/first`, port: port1, child: undefined };
    const second: Agent = {
      name: "second",
      state: `${targetHome}/second`,
      port: port2,
      child: undefined,
    };
    const servers = new StandinServers([first, second]);
    cleanup.add("end the agents", () => servers.#stop());
    await servers.#run(first, "--listen", `127.0.0.1:${port1}`, "--name", first.name);
    const { token } = await servers.#json(first, "invite");
    const listen = ["--listen", `127.0.0.1:${port2}`, "--name", second.name];
    await servers.#json(second, "join", String(token), ...listen);
    await servers.#run(second);
    return servers;
  }

  /** Returns at once, while the first copy is made. */
  async protect(source: string, replica: string): Promise<void> {
    this.#source = source;
    const options = ["--name", JOB, "--replica", replica, "--to", this.#agents[1].name];
    await this.#json(this.#agents[0], "protect", source, ...options);
  }

  async untilProtected(limitMs: number): Promise<void> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      const status = await this.status();
      if (status.protected) return;
      if (performance.now() > deadline) throw new Error(`not protected: ${JSON.stringify(status)}`);
      await systemClock.sleep(POLL_MS);
    }
  }

  async status(): Promise<SourceStatus> {
    const answer = await (await this.#control()).request({ command: "jobs", body: {} });
    const { jobs } = answer as Record<string, unknown>;
    const found = (jobs as JobStatus[]).find(({ role }) => role === "source");
    if (found === undefined) throw new Error("the first agent has no job");
    return found as SourceStatus;
  }

  async flush(): Promise<void> {
    await this.#json(this.#agents[0], "flush", JOB, "--timeout", "600");
  }

  async verifyAndRepair(): Promise<{ answer: Record<string, unknown>; seconds: number }> {
    const startedMs = performance.now();
    const answer = await this.#json(this.#agents[0], "verify", JOB, "--repair");
    return { answer, seconds: (performance.now() - startedMs) / 1000 };
  }

  /** Of the first agent; kept, since it is asked many times a second. */
  #control(): Promise<Control> {
    this.#connection ??= ControlClient.connect(agentSocket(this.#agents[0].state));
    return this.#connection;
  }

  async #run(agent: Agent, ...options: string[]): Promise<void> {
    const args = [MAIN, "agent", "--state", agent.state, "--json", ...options];
    agent.child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"], cwd: "/" });
    let log = "";
    agent.child.stderr?.on("data", (chunk: Buffer) => (log = (log + chunk).slice(-100_000)));
    const deadline = performance.now() + START_MS;
    while (!log.includes('"event":"ready"')) {
      if (performance.now() > deadline) throw new Error(`${agent.name} does not start: ${log}`);
      await systemClock.sleep(POLL_MS);
    }
  }

  async #json(agent: Agent, ...args: string[]): Promise<Record<string, unknown>> {
    const all = [MAIN, ...args, "--state", agent.state, "--json"];
    const { stdout } = await runCommand(process.execPath, all, { limitMs: COMMAND_MS });
    return JSON.parse(stdout) as Record<string, unknown>;
  }

  async #stop(): Promise<void> {
    const [first] = this.#agents;
    const ids = this.#agents.flatMap(({ state }) => [
      ...namesIn(`${state}/jobs`),
      ...namesIn(`${state}/replicas`),
    ]);
    try {
      if (this.#source !== "") await this.#json(first, "unprotect", JOB);
    } finally {
      await this.#connection?.then(
        (connection) => connection.close(),
        () => {}, // there is none
      );
      for (const { child } of this.#agents) child?.kill("SIGTERM");
      for (const { child } of this.#agents) await ended(child);
      for (const { path } of readMountTable().toReversed()) {
        if (path === this.#source) await runCommand("umount", ["-l", path]);
      }
      const left = namesIn("/dev/shm").filter((name) => ids.some((id) => name.includes(id)));
      for (const name of left) {
        killUsersOf(`/dev/shm/${name}`);
        rmSync(`/dev/shm/${name}`, { recursive: true, force: true });
      }
    }
  }
}

async function ended(child: ChildProcess | undefined): Promise<void> {
  const deadline = performance.now() + START_MS;
  while (child !== undefined && child.exitCode === null && child.signalCode === null) {
    if (performance.now() > deadline) child.kill("SIGKILL");
    await systemClock.sleep(POLL_MS);
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
