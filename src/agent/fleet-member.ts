/** One line of the members' list, how two lists become one, and how it travels. */
import { StandinError } from "../base/errors.ts";
import { isAgentId, isAgentName } from "../trust/certificate.ts";
import type { KnownAgent } from "../trust/proof.ts";

export interface FleetMember extends KnownAgent {
  /** ADDRESS:PORT, those to try first first. */
  readonly addresses: readonly string[];
  /** It made the fleet, and alone issues certificates. */
  readonly isAuthority: boolean;
  /** End of its certificate, milliseconds since 1970. */
  readonly expiresMs: number;
  /** Raised by the member itself when it changes its line. */
  readonly revision: number;
  /** Milliseconds since 1970; null while it is a member. */
  readonly removedMs: number | null;
}

/** Whether `theirs` is to replace `ours`. A removal is final, whatever comes later. */
export function isNewer(theirs: FleetMember, ours: FleetMember | undefined): boolean {
  if (ours === undefined) return true;
  if (ours.isRemoved !== theirs.isRemoved) return theirs.isRemoved;
  return theirs.revision > ours.revision;
}

/** By name or id. @throws {StandinError} `UNKNOWN_AGENT`, `AGENT_REMOVED` */
export function namedMember(members: readonly FleetMember[], agent: string): FleetMember {
  const found = members.filter(({ id, name }) => id === agent || name === agent);
  const present = found.find(({ isRemoved }) => !isRemoved);
  if (present !== undefined) return present;
  if (found.length > 0) {
    throw new StandinError("AGENT_REMOVED", `${agent} was removed from the fleet`, {
      hint: "See who is there with standin agents.",
    });
  }
  throw new StandinError("UNKNOWN_AGENT", `the fleet has no agent ${agent}`, {
    hint: "See who is there with standin agents.",
  });
}

const MEMBERS_MAX = 4096;
const ADDRESSES_MAX = 64;

/** Undefined when it is not such a list. */
export function parseMembers(value: unknown): FleetMember[] | undefined {
  if (!Array.isArray(value) || value.length > MEMBERS_MAX) return undefined;
  const members = value.map(parseMember);
  return members.every((member) => member !== undefined) ? members : undefined;
}

function parseMember(value: unknown): FleetMember | undefined {
  const given = (typeof value === "object" && value !== null ? value : {}) as Partial<FleetMember>;
  const { id, name, isAuthority, expiresMs, revision, removedMs } = given;
  const addresses = parseAddresses(given.addresses);
  if (!isAgentId(id) || !isAgentName(name) || addresses === undefined) return undefined;
  if (!isCount(expiresMs) || !isCount(revision)) return undefined;
  if (removedMs !== null && !isCount(removedMs)) return undefined;
  const isRemoved = removedMs !== null;
  return {
    id,
    name,
    addresses,
    isAuthority: isAuthority === true,
    expiresMs,
    revision,
    removedMs,
    isRemoved,
  };
}

/** Undefined when it is no list of short texts. */
export function parseAddresses(value: unknown): string[] | undefined {
  if (!Array.isArray(value) || value.length > ADDRESSES_MAX) return undefined;
  const isGood = (text: unknown): text is string => typeof text === "string" && text.length < 300;
  return value.every(isGood) ? value : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
