/** The commands about the fleet: invite, join, agents, remove. */
import Table from "cli-table3";

import { AgentState, agentStatePath } from "../agent/agent-state.ts";
import { checkAgentName, joinFleet } from "../agent/enrollment.ts";
import type { AgentListing, Invitation } from "../agent/fleet-commands.ts";
import { StandinError } from "../base/errors.ts";
import { formatDurationMs } from "../base/units.ts";
import { systemClock } from "../platform/clock.ts";
import { hostName, reachableAddresses } from "../platform/host.ts";
import { parseToken } from "../trust/invitation-token.ts";
import { formatAddress, isWildcard, parseAddress } from "../trust/network-address.ts";
import { type AskArguments, askAgent } from "./ask-agent.ts";
import { ExitCode } from "./exit-code.ts";
import { outputFor } from "./output.ts";

export async function runInvite(
  given: AskArguments & { readonly expires: number },
): Promise<number> {
  const output = outputFor(given.json === true);
  const { token, expiresMs } = await askAgent<Invitation>(given, "invite", {
    lifetimeMs: given.expires,
  });
  const expires = new Date(expiresMs).toISOString();
  output.json({ event: "invited", token, expires });
  output.text(token);
  if (!output.isJson && process.stderr.isTTY) {
    process.stderr.write(
      `Good for one server, until ${expires}. On that server run:\n` +
        "  standin join TOKEN --listen ADDRESS:PORT\n",
    );
  }
  return ExitCode.ok;
}

export interface JoinArguments extends AskArguments {
  readonly token: string;
  readonly listen: string;
  readonly advertise?: string;
  readonly name?: string;
}

export async function runJoin(given: JoinArguments): Promise<number> {
  const output = outputFor(given.json === true);
  const token = parseToken(given.token);
  const name = checkAgentName(given.name ?? hostName());
  const addresses = addressesOf(given);
  const state = AgentState.open(agentStatePath(given.state));
  try {
    refuseMember(state);
    await joinFleet(state.store, { token, name, addresses }, systemClock);
    state.store.saveSetting("listen", given.listen);
    if (given.advertise !== undefined) state.store.saveSetting("advertise", given.advertise);
    const members = state.store.members().filter(({ isRemoved }) => !isRemoved);
    output.json({ event: "joined", id: state.store.identity.id, name, agents: members.length });
    output.text(`${name} is a member of the fleet, which has ${members.length} servers now`);
    output.text(`  Start its agent: ${startCommand(given)}`);
  } finally {
    state.close();
  }
  return ExitCode.ok;
}

/** A port of 0 is known only when the agent runs; it tells the others then. */
function addressesOf({ listen, advertise }: JoinArguments): string[] {
  const { host, port } = parseAddress(listen);
  if (advertise !== undefined) return [formatAddress(parseAddress(advertise))];
  if (port === 0) return [];
  const hosts = isWildcard(host) ? reachableAddresses() : [host];
  return hosts.map((address) => formatAddress({ host: address, port }));
}

function startCommand({ state }: JoinArguments): string {
  if (state === undefined) return "systemctl enable --now standin-agent (or standin agent)";
  return `standin agent --state ${state}`;
}

function refuseMember({ store, path }: AgentState): void {
  const existing = store.identityIfAny;
  if (existing === undefined) return;
  const others = store.members().length - 1;
  const what = others === 0 ? "made a fleet of its own" : "is in a fleet already";
  throw new StandinError("ALREADY_MEMBER", `${existing.name} ${what}`, {
    hint: `To leave it for good: stop the agent, remove ${path}/fleet.db*, and join again.`,
  });
}

export async function runAgents(given: AskArguments): Promise<number> {
  const output = outputFor(given.json === true);
  const { agents } = await askAgent<{ agents: AgentListing[] }>(given, "agents", {});
  output.json({ agents });
  output.text(renderAgents(agents, systemClock.wallMs()));
  return ExitCode.ok;
}

/** The listing as a table, one line for an agent. */
export function renderAgents(agents: readonly AgentListing[], nowMs: number): string {
  const border = Object.fromEntries(BORDERS.map((name) => [name, ""]));
  const style = { head: [], border: [], "padding-left": 0, "padding-right": 2 };
  const head = ["NAME", "ADDRESS", "CONTACT", "CERTIFICATE", "ID"];
  const table = new Table({ head, chars: { ...border, middle: "" }, style });
  for (const agent of agents) {
    const { name, isAuthority, addresses, expiresMs, id } = agent;
    const leftMs = expiresMs - nowMs;
    table.push([
      isAuthority ? `${name} (authority)` : name,
      addresses.join(" ") || "-",
      contactText(agent, nowMs),
      leftMs > 0 ? `for ${formatDurationMs(leftMs)}` : "expired",
      id,
    ]);
  }
  return table
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

const BORDERS = [
  ...["top", "top-mid", "top-left", "top-right", "bottom", "bottom-mid", "bottom-left"],
  ...["bottom-right", "left", "left-mid", "mid", "mid-mid", "right", "right-mid"],
];

function contactText(agent: AgentListing, nowMs: number): string {
  if (agent.isSelf) return "this server";
  if (agent.isReachable) return "yes";
  const seen =
    agent.seenMs === null ? "not yet" : `lost ${formatDurationMs(nowMs - agent.seenMs)} ago`;
  return agent.problem === null ? seen : `${seen}: ${agent.problem}`;
}

export async function runRemove(
  given: AskArguments & { readonly agent: string; readonly force?: boolean },
): Promise<number> {
  const output = outputFor(given.json === true);
  const body = { agent: given.agent, force: given.force === true };
  const { id, name } = await askAgent<{ id: string; name: string }>(given, "remove", body);
  output.json({ event: "removed", id, name });
  output.text(`${name} is removed: its certificate is refused from now on`);
  return ExitCode.ok;
}
