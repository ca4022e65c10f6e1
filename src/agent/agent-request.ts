/** What the agent's control socket takes: a command by name, and what it needs to know. */

export interface AgentRequest {
  readonly id: number;
  readonly command: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** What is wrong with a request, or undefined. */
export function checkAgentRequest(value: Record<string, unknown>): string | undefined {
  if (typeof value.id !== "number") return "a request has a numeric id";
  if (typeof value.command !== "string") return "a request has a command";
  const body = value.body;
  const isObject = typeof body === "object" && body !== null && !Array.isArray(body);
  return isObject ? undefined : "a request has a body, which is an object";
}
