/** Commands of the agent's control socket, by name. Only root reaches it. */
import { StandinError } from "../base/errors.ts";
import type { AgentRequest } from "./agent-request.ts";

/** Does one command. What it returns is the answer; a StandinError reaches the asker as it is. */
export type AgentCommand = (
  body: AgentRequest["body"],
  progress: (value: unknown) => void,
  asker: AbortSignal,
) => Promise<object> | object;

export class AgentCommands {
  readonly #commands = new Map<string, AgentCommand>();

  add(name: string, command: AgentCommand): void {
    this.#commands.set(name, command);
  }

  /** @throws {StandinError} `UNKNOWN_COMMAND`, and what the command throws */
  async run(
    { command, body }: AgentRequest,
    progress: (value: unknown) => void,
    asker: AbortSignal,
  ): Promise<object> {
    const found = this.#commands.get(command);
    if (found !== undefined) return await found(body, progress, asker);
    throw new StandinError("UNKNOWN_COMMAND", `the agent does not know "${command}"`, {
      hint: "It may run another release than this shell: restart it.",
    });
  }
}
