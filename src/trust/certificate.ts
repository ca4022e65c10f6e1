/** What Standin reads in a certificate: whose it is, by which authority, until when. */
import { createHash, X509Certificate } from "node:crypto";

/** Who an agent is. The id never changes and is never used again; the name is for people. */
export interface AgentIdentityName {
  /** 32 hexadecimal digits. */
  readonly id: string;
  readonly name: string;
}

const URI_PREFIX = "standin:agent/";
const ID = /^[0-9a-f]{32}$/;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** How a certificate names an agent (a URI among its subject's alternative names). */
export function agentUri(id: string): string {
  return `${URI_PREFIX}${id}`;
}

export function isAgentId(text: unknown): text is string {
  return typeof text === "string" && ID.test(text);
}

/** A name is like that of a host, and is never taken for an id. */
export function isAgentName(text: unknown): text is string {
  return typeof text === "string" && NAME.test(text) && !ID.test(text);
}

/** Undefined when the certificate names no agent, or several. */
export function agentIdOf(certificate: X509Certificate): string | undefined {
  const names = (certificate.subjectAltName ?? "").split(", ");
  const prefix = `URI:${URI_PREFIX}`;
  const ids = names.filter((name) => name.startsWith(prefix)).map((n) => n.slice(prefix.length));
  return ids.length === 1 && isAgentId(ids[0]) ? ids[0] : undefined;
}

/** SHA-256 of the certificate, 32 bytes. */
export function fingerprintOf(certificate: X509Certificate): Uint8Array {
  return createHash("sha256").update(certificate.raw).digest();
}

/** First and last instant of a certificate, in milliseconds since 1970. */
export interface Validity {
  readonly startMs: number;
  readonly endMs: number;
}

export function validityOf(certificate: X509Certificate | string): Validity {
  const { validFromDate, validToDate } =
    typeof certificate === "string" ? new X509Certificate(certificate) : certificate;
  return { startMs: validFromDate.getTime(), endMs: validToDate.getTime() };
}
