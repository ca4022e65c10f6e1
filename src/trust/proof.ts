/**
 * Whether a peer is who its certificate says, and belongs to the fleet. TLS has proved that the
 * peer holds the certificate's key; the rest is decided here.
 */
import type { X509Certificate } from "node:crypto";

import { StandinError } from "../base/errors.ts";
import { type AgentIdentityName, agentIdOf } from "./certificate.ts";

/** What the members' list knows of an agent. */
export interface KnownAgent extends AgentIdentityName {
  readonly isRemoved: boolean;
}

/** What TLS has found out about a peer. */
export interface PresentedCertificate {
  /** Undefined when the peer has shown none. */
  readonly certificate: X509Certificate | undefined;
  /** OpenSSL's code for what is wrong with its chain to our authority; undefined: nothing. */
  readonly problem: string | undefined;
}

const CHECK_CLOCKS = "Compare the clocks of both servers (timedatectl).";

/**
 * The agent at the other end. @throws {StandinError} `CERTIFICATE_MISSING`, `CERTIFICATE_EXPIRED`,
 * `CERTIFICATE_NOT_YET_VALID`, `CERTIFICATE_FOREIGN`, `CERTIFICATE_UNKNOWN`, `CERTIFICATE_REVOKED`
 */
export function proveAgent(
  { certificate, problem }: PresentedCertificate,
  memberById: (id: string) => KnownAgent | undefined,
): AgentIdentityName {
  if (certificate === undefined) {
    throw new StandinError("CERTIFICATE_MISSING", "the peer shows no certificate");
  }
  if (problem !== undefined) throw problemError(problem);
  const id = agentIdOf(certificate);
  const member = id === undefined ? undefined : memberById(id);
  if (member === undefined) {
    throw new StandinError("CERTIFICATE_UNKNOWN", "the certificate is of no member of the fleet", {
      hint: "A server that has just joined is known everywhere within a minute: try again.",
    });
  }
  if (member.isRemoved) {
    throw new StandinError("CERTIFICATE_REVOKED", `${member.name} was removed from the fleet`, {
      hint: "To take the server in again, invite it anew and run standin join on it.",
    });
  }
  return { id: member.id, name: member.name };
}

function problemError(problem: string): StandinError {
  if (problem === "CERT_HAS_EXPIRED") {
    return new StandinError("CERTIFICATE_EXPIRED", "the certificate has expired", {
      hint: `${CHECK_CLOCKS} If it was off for long: standin remove it, and let it join again.`,
    });
  }
  if (problem === "CERT_NOT_YET_VALID") {
    const message = "the certificate is not valid yet";
    return new StandinError("CERTIFICATE_NOT_YET_VALID", message, { hint: CHECK_CLOCKS });
  }
  return new StandinError("CERTIFICATE_FOREIGN", "the certificate is not of this fleet", {
    hint: `Only servers that joined with a token of standin invite may connect (${problem}).`,
  });
}
