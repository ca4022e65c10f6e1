import type { AgentRequest } from "../agent/agent-request.ts";
import { agentSocket, agentStatePath } from "../agent/agent-state.ts";
import { ControlClient } from "../agent/control-client.ts";

/** What every command takes that asks the agent. */
export interface AskArguments {
  readonly state?: string;
  readonly json?: boolean;
}

const HINTS = {
  notRunning:
    "Start it with systemctl start standin-agent, or standin agent --listen ADDRESS:PORT.",
  gone: "Look into its log: journalctl -u standin-agent.",
};

/** Asks the agent that runs on this machine. @throws {StandinError} what it answers */
export async function askAgent<T>(given: AskArguments, command: string, body: object): Promise<T> {
  const path = agentSocket(agentStatePath(given.state));
  const client = await ControlClient.connect<Omit<AgentRequest, "id">>(path, HINTS);
  try {
    return (await client.request({ command, body: { ...body } })) as T;
  } finally {
    client.close();
  }
}
