/** `standin status`. */
import { ControlClient } from "../agent/control-client.ts";
import type { InstanceStatus } from "../agent/instance-status.ts";
import { offlineStatus } from "../agent/offline-status.ts";
import type { StateDirectory } from "../agent/state-directory.ts";
import { StandinError } from "../base/errors.ts";
import { systemClock } from "../platform/clock.ts";
import { chooseInstance } from "./choose-instance.ts";
import { ExitCode } from "./exit-code.ts";
import { outputFor } from "./output.ts";
import { renderStatus } from "./render-status.ts";

export interface StatusArguments {
  readonly state?: string;
  readonly json?: boolean;
  readonly watch?: boolean;
}

const WATCH_MS = 1000;
const CLEAR_SCREEN = "\u001B[H\u001B[2J";

export async function runStatus(given: StatusArguments): Promise<number> {
  const state = chooseInstance(given.state);
  const output = outputFor(given.json === true);
  do {
    const status = await readStatus(state);
    if (given.watch === true && process.stdout.isTTY) output.text(`${CLEAR_SCREEN}`);
    output.text(renderStatus(status));
    output.json(status);
    if (given.watch === true) await systemClock.sleep(WATCH_MS);
  } while (given.watch === true);
  return ExitCode.ok;
}

/** Also when the agent was killed: what its processes go on doing can be seen without it. */
async function readStatus(state: StateDirectory): Promise<InstanceStatus> {
  try {
    const client = await ControlClient.connect(state.controlSocket);
    try {
      return (await client.request({ command: "status" })) as InstanceStatus;
    } finally {
      client.close();
    }
  } catch (error) {
    if (!(error instanceof StandinError) || !isAgentGone(error)) throw error;
    const status = offlineStatus(state);
    if (status === undefined) throw error;
    return status;
  }
}

function isAgentGone(error: StandinError): boolean {
  return error.code === "NOT_RUNNING" || error.code === "AGENT_GONE";
}
