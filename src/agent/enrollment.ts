/** How a fleet begins, and how servers come into it: invitation, join, renewal. */
import { randomBytes, X509Certificate } from "node:crypto";

import { StandinError } from "../base/errors.ts";
import type { Clock } from "../platform/clock.ts";
import { connectTls, sentIssuer, type TlsPeer } from "../platform/tls.ts";
import { FrameError } from "../protocol/frame.ts";
import { parseWelcome } from "../protocol/hello.ts";
import {
  type AgentIdentityName,
  agentIdOf,
  fingerprintOf,
  isAgentName,
  validityOf,
} from "../trust/certificate.ts";
import {
  createToken,
  formatToken,
  hashOfSecret,
  type InvitationToken,
} from "../trust/invitation-token.ts";
import type { NetworkAddress } from "../trust/network-address.ts";
import { type FleetMember, parseAddresses, parseMembers } from "./fleet-member.ts";
import type { FleetIdentity, FleetStore } from "./fleet-store.ts";
import { newParser, readOpening } from "./peer-connection.ts";
import { answerOf, JOIN_PURPOSE, writeHello } from "./peer-network.ts";

/** Loaded only when a certificate is made: it is large. */
const loadAuthority = () => import("../trust/authority.ts");

const JOIN_ANSWER_MS = 30_000;

export function newAgentId(): string {
  return randomBytes(16).toString("hex");
}

/** @throws {StandinError} `INVALID_NAME` */
export function checkAgentName(name: string): string {
  if (isAgentName(name)) return name;
  throw new StandinError("INVALID_NAME", `"${name}" is no name for an agent`, {
    hint: "Use up to 63 letters, digits, dots, dashes and underscores, such as mail1: --name NAME.",
  });
}

/** Makes a fleet of one agent, which holds the authority's key. */
export async function createFleet(store: FleetStore, name: string, clock: Clock): Promise<void> {
  const trust = await loadAuthority();
  const nowMs = clock.wallMs();
  const agent = { id: newAgentId(), name };
  const authority = await trust.createAuthority(agent.id.slice(0, 8), nowMs);
  const { request, key } = await trust.createRequest(name);
  const certificate = await trust.issueCertificate(authority, request, agent, nowMs);
  const credentials = { certificate, key, authority: authority.certificate };
  const member = firstLine(agent, [], certificate, true);
  store.saveFleet(agent, credentials, authority.key, [member]);
}

function firstLine(
  agent: AgentIdentityName,
  addresses: readonly string[],
  certificate: string,
  isAuthority: boolean,
): FleetMember {
  const expiresMs = validityOf(certificate).endMs;
  const { id, name } = agent;
  const isRemoved = false;
  return { id, name, addresses, isAuthority, expiresMs, revision: 1, removedMs: null, isRemoved };
}

/** The side that lets servers in; works only on the agent that made the fleet. */
export class Admission {
  readonly #store: FleetStore;
  readonly #clock: Clock;
  readonly #admitted: (member: FleetMember) => void;

  constructor(store: FleetStore, clock: Clock, admitted: (member: FleetMember) => void) {
    this.#store = store;
    this.#clock = clock;
    this.#admitted = admitted;
  }

  /** @throws {StandinError} `NOT_AUTHORITY` */
  invite(address: NetworkAddress, lifetimeMs: number): { token: string; expiresMs: number } {
    this.#authority();
    const issuer = new X509Certificate(this.#store.identity.credentials.authority);
    const token = createToken(address, fingerprintOf(issuer));
    const nowMs = this.#clock.wallMs();
    const expiresMs = nowMs + lifetimeMs;
    const secretHash = hashOfSecret(token.secret);
    this.#store.addInvitation({ id: token.id, secretHash, expiresMs }, nowMs);
    return { token: formatToken(token), expiresMs };
  }

  /** Answers the hello of a server that has a token. @throws {StandinError} */
  async join(parameters: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> {
    const { invitation, secret, name, request } = parameters;
    const addresses = parseAddresses(parameters.addresses);
    const texts = [invitation, secret, request];
    if (texts.some((text) => typeof text !== "string") || addresses === undefined) throw badJoin();
    if (!isAgentName(name)) throw badJoin();
    const secretHash = hashOfSecret(Buffer.from(String(secret), "base64url"));
    this.#store.checkInvitation(String(invitation), secretHash, this.#clock.wallMs());
    this.#store.checkNameIsFree(name);
    const agent = { id: newAgentId(), name };
    const certificate = await this.#issue(String(request), agent);
    const member = firstLine(agent, addresses, certificate, false);
    this.#store.admit(String(invitation), secretHash, member, this.#clock.wallMs());
    this.#admitted(member);
    return { id: agent.id, certificate, members: this.#store.members() };
  }

  /** A certificate for a member that has proved who it is. @throws {StandinError} */
  async renew(agent: AgentIdentityName, request: unknown): Promise<Record<string, unknown>> {
    if (typeof request !== "string") throw badJoin();
    return { certificate: await this.#issue(request, agent) };
  }

  async #issue(request: string, agent: AgentIdentityName): Promise<string> {
    const authority = this.#authority();
    const trust = await loadAuthority();
    return await trust.issueCertificate(authority, request, agent, this.#clock.wallMs());
  }

  #authority(): NonNullable<FleetIdentity["authority"]> {
    const { authority } = this.#store.identity;
    if (authority !== undefined) return authority;
    const holder = this.#store.members().find((member) => member.isAuthority);
    throw new StandinError("NOT_AUTHORITY", "this agent did not make the fleet", {
      hint: `Run it on ${holder?.name ?? "the one that did"}, which holds the fleet's authority.`,
    });
  }
}

export interface JoinOptions {
  readonly token: InvitationToken;
  readonly name: string;
  /** Where the other agents will reach this one. */
  readonly addresses: readonly string[];
}

/**
 * Makes this server a member: proves by the token's fingerprint who answers before the secret is
 * sent, and stores what comes back. @throws {StandinError}
 */
export async function joinFleet(
  store: FleetStore,
  { token, name, addresses }: JoinOptions,
  clock: Clock,
): Promise<void> {
  const { request, key } = await (await loadAuthority()).createRequest(name);
  const tls = await connectTls(token.address);
  try {
    const authority = provedAuthority(tls, token, clock.wallMs());
    const secret = Buffer.from(token.secret).toString("base64url");
    const invitation = token.id;
    writeHello(tls.socket, JOIN_PURPOSE, { invitation, secret, name, addresses, request });
    const options = { clock, timeoutMs: JOIN_ANSWER_MS };
    const opening = await readOpening(tls.socket, newParser(), options);
    const welcome = parseWelcome(answerOf(opening, "the inviting agent"));
    const members = parseMembers(welcome?.parameters.members);
    const certificate = String(welcome?.parameters.certificate ?? "");
    const id = agentIdOf(new X509Certificate(certificate));
    if (members === undefined || id === undefined) throw new FrameError("no certificate came");
    const credentials = { certificate, key, authority: authority.toString() };
    store.saveFleet({ id, name }, credentials, undefined, members);
  } catch (error) {
    if (error instanceof StandinError) throw error;
    throw new StandinError("JOIN_FAILED", `the answer makes no sense: ${error}`, {
      hint: "Both servers should run the same release of Standin.",
      cause: error,
    });
  } finally {
    tls.socket.destroy();
  }
}

/** The authority named by the token, which must have issued what the peer has shown. */
function provedAuthority(tls: TlsPeer, token: InvitationToken, nowMs: number): X509Certificate {
  const issuer = sentIssuer(tls);
  const { certificate } = tls;
  const isNamed =
    issuer !== undefined && Buffer.from(token.fingerprint).equals(fingerprintOf(issuer));
  if (certificate === undefined || !isNamed || !certificate.verify(issuer.publicKey)) {
    throw new StandinError("CERTIFICATE_FOREIGN", "another fleet answers at the token's address", {
      hint: "Make a new token with standin invite, and look whether the address in it is right.",
    });
  }
  const { startMs, endMs } = validityOf(certificate);
  if (nowMs >= startMs && nowMs < endMs) return issuer;
  throw new StandinError(
    "CERTIFICATE_EXPIRED",
    "the inviting agent's certificate is not valid now",
    {
      hint: "Compare the clocks of both servers (timedatectl).",
    },
  );
}

function badJoin(): StandinError {
  return new StandinError("BAD_REQUEST", "a request to join or renew makes no sense", {
    hint: "Both servers should run the same release of Standin.",
  });
}
