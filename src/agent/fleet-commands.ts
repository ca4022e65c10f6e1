/** Commands of the control socket about the fleet: invite, agents, remove. */
import { StandinError } from "../base/errors.ts";
import type { Clock } from "../platform/clock.ts";
import { parseAddress } from "../trust/network-address.ts";
import type { AgentCommands } from "./agent-commands.ts";
import type { AgentLog } from "./agent-log.ts";
import type { Admission } from "./enrollment.ts";
import type { FleetStore } from "./fleet-store.ts";
import type { Contact, Membership } from "./membership.ts";

/** One line of `standin agents`. */
export interface AgentListing extends Contact {
  readonly id: string;
  readonly name: string;
  readonly addresses: readonly string[];
  /** The agent that was asked. */
  readonly isSelf: boolean;
  readonly isAuthority: boolean;
  /** End of the certificate, milliseconds since 1970. */
  readonly expiresMs: number;
}

/** What `invite` answers. */
export interface Invitation {
  readonly token: string;
  /** Milliseconds since 1970. */
  readonly expiresMs: number;
}

const LIFETIME_MS_MAX = 30 * 86_400_000;

export interface FleetParts {
  readonly store: FleetStore;
  readonly admission: Admission;
  readonly membership: Membership;
  readonly clock: Clock;
  readonly log: AgentLog;
}

export function addFleetCommands(commands: AgentCommands, parts: FleetParts): void {
  const { store, admission, log } = parts;
  commands.add("invite", ({ lifetimeMs }): Invitation => {
    if (typeof lifetimeMs !== "number" || !(lifetimeMs > 0) || lifetimeMs > LIFETIME_MS_MAX) {
      throw new StandinError("INVALID_LIFETIME", "a token lives at most 30 days", {
        hint: "Give a shorter time with --expires, such as 1h.",
      });
    }
    const [address] = store.findMember(store.identity.id).addresses;
    if (address === undefined) throw notReachable();
    const invitation = admission.invite(parseAddress(address), lifetimeMs);
    log.info("invited", "a token for a new server was made", {
      until: new Date(invitation.expiresMs).toISOString(),
    });
    return invitation;
  });
  commands.add("agents", () => ({ agents: listing(parts) }));
  commands.add("remove", ({ agent, force }) => remove(parts, String(agent), force === true));
}

function listing({ store, membership, clock }: FleetParts): AgentListing[] {
  const present = store.members().filter(({ isRemoved }) => !isRemoved);
  return present.map(({ id, name, addresses, isAuthority, expiresMs }) => {
    const isSelf = id === store.identity.id;
    const contact: Contact = isSelf
      ? { isReachable: true, seenMs: clock.wallMs(), problem: null }
      : membership.contactOf(id);
    return { id, name, addresses, isSelf, isAuthority, expiresMs, ...contact };
  });
}

async function remove(
  { store, membership, clock, log }: FleetParts,
  agent: string,
  isForced: boolean,
): Promise<object> {
  const { id, name, isAuthority } = store.findMember(agent);
  if (id === store.identity.id) {
    throw new StandinError("CANNOT_REMOVE_SELF", "an agent cannot remove itself", {
      hint: "Run it on another server of the fleet.",
    });
  }
  if (isAuthority && !isForced) {
    throw new StandinError("AUTHORITY_NEEDED", `${name} holds the fleet's authority`, {
      hint: "Without it nobody can join or renew. If that server is lost, repeat with --force.",
    });
  }
  store.removeMember(id, clock.wallMs());
  log.warning("agent-removed", `${name} was removed from the fleet`, { id });
  void membership.spread();
  return { id, name };
}

function notReachable(): StandinError {
  return new StandinError("NO_ADDRESS", "the agent has no address that others can reach", {
    hint: "Name one: standin agent --advertise ADDRESS:PORT.",
  });
}
