/** Standin: an agent on each side, and a job from one to the other. */
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import type { AgentRequest } from "../../../src/agent/agent-request.ts";
import { agentSocket } from "../../../src/agent/agent-state.ts";
import { ControlClient } from "../../../src/agent/control-client.ts";
import type { JobStatus, ReplicaStatus } from "../../../src/agent/jobs/job-status.ts";
import { systemClock } from "../../../src/platform/clock.ts";
import { readMountTable } from "../../../src/platform/mount-table.ts";
import { VERSION } from "../../../src/base/version.ts";
import { runCommand } from "../run-command.ts";
import { type Contender, folderIn, type Place, type Running, startLogged } from "./contender.ts";
import type { Side } from "./stage.ts";

const MAIN = join(import.meta.dirname, "../../../src/main.ts");
const PORT = 7400;
const JOB = "bench";
const READY_MS = 60_000;
const POLL_MS = 100;
const COMMAND_MS = 300_000;

export function standin(): Contender {
  return {
    name: "standin",
    settings: "protect --replica, all else as it comes",
    version: async () => VERSION,
    start,
  };
}

interface Agent {
  readonly side: Side;
  readonly state: string;
}

async function start(place: Place): Promise<Running> {
  const { stage, source } = place;
  const agents = [stage.source, stage.target].map((side, i) => {
    return { side, state: `${folderIn(place, `agent-${i}`)}/state` };
  });
  const [first, second] = agents as [Agent, Agent];
  const running: Running = {
    copy: `${place.home}/replica/0`,
    warning: () => warningOf(second),
    stop: () => stop(place, agents),
  };
  try {
    run(place, first, ["--listen", `${first.side.address}:${PORT}`, "--name", "first"]);
    await untilReady(first);
    const { token } = JSON.parse(await command(first, "invite", "--json")) as { token: string };
    const listen = `${second.side.address}:${PORT}`;
    await command(second, "join", token, "--listen", listen, "--name", "second");
    run(place, second, []);
    await untilReady(second);
    const replica = ["--replica", `${place.home}/replica`];
    await command(first, "protect", source, "--name", JOB, ...replica, "--to", "second");
    return running;
  } catch (error) {
    await running.stop();
    throw error;
  }
}

function run(place: Place, { side, state }: Agent, options: readonly string[]): void {
  const name = side === place.stage.source ? "first" : "second";
  const args = [MAIN, "agent", "--state", state, "--json", ...options];
  startLogged(place, side, name, [process.execPath, ...args]);
}

/** What `standin promote` would refuse for on the target. */
async function warningOf({ state }: Agent): Promise<string | null> {
  const client = await ControlClient.connect<Omit<AgentRequest, "id">>(agentSocket(state));
  try {
    const { jobs } = (await client.request({ command: "jobs", body: {} })) as { jobs: JobStatus[] };
    const job = jobs.find(({ role }) => role === "target") as ReplicaStatus | undefined;
    if (job === undefined) return "no job";
    return job.due === "none" ? null : `${job.due} due`;
  } finally {
    client.close();
  }
}

/** A command on the agent's machine: not counted, as it is the administrator's. */
async function command({ side, state }: Agent, ...args: readonly string[]): Promise<string> {
  const network = [`--net=/run/netns/${side.namespace}`, process.execPath, MAIN];
  const all = [...network, ...args, "--state", state];
  return (await runCommand("nsenter", all, { limitMs: COMMAND_MS })).stdout;
}

async function untilReady(agent: Agent): Promise<void> {
  const deadline = performance.now() + READY_MS;
  for (;;) {
    const problem = await command(agent, "agents").then(
      () => undefined,
      (error: Error) => error,
    );
    if (problem === undefined) return;
    if (performance.now() > deadline) throw problem;
    await systemClock.sleep(POLL_MS);
  }
}

async function stop({ stage, source }: Place, agents: readonly Agent[]): Promise<void> {
  const [first] = agents as [Agent];
  // Before the job is gone: its name tells which shared memory is ours.
  const ids = agents.flatMap(({ state }) =>
    [`${state}/jobs`, `${state}/replicas`].flatMap(namesIn),
  );
  await command(first, "unprotect", JOB).catch((error: Error) => {
    console.error(`  unprotect: ${error.message}`);
  });
  await stage.clear();
  for (const { path } of readMountTable().toReversed()) {
    if (path === source) await runCommand("umount", ["-l", path]);
  }
  for (const name of namesIn("/dev/shm")) {
    if (!/^standin-(?:from|to)-/.test(name) || !ids.some((id) => name.includes(id))) continue;
    rmSync(`/dev/shm/${name}`, { recursive: true, force: true });
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
