/**
 * The fleet's own certificate authority. Its key stays on the agent that made it; that agent alone
 * issues and renews certificates. Keys are ECDSA on P-256; all texts are PEM.
 */
import { createPrivateKey, KeyObject, webcrypto } from "node:crypto";

import { StandinError } from "../base/errors.ts";
import { type AgentIdentityName, agentUri } from "./certificate.ts";
import * as x509 from "./x509.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Clocks of servers may be this far apart, and a little more. */
export const CLOCK_TOLERANCE_MS: number = 2 * HOUR_MS;
export const AGENT_LIFETIME_MS: number = 90 * DAY_MS;
export const AUTHORITY_LIFETIME_MS: number = 3653 * DAY_MS;

/** A certificate and its private key, both PEM. */
export interface KeyedCertificate {
  readonly certificate: string;
  readonly key: string;
}

/** A fresh key, and the request for a certificate that proves its possession. */
export interface KeyedRequest {
  readonly request: string;
  readonly key: string;
}

/** Makes the authority of a new fleet. `fleetId` tells its name from those of other fleets. */
export async function createAuthority(fleetId: string, nowMs: number): Promise<KeyedCertificate> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [`Standin fleet ${fleetId}`] }],
    keys,
    ...validity(nowMs, AUTHORITY_LIFETIME_MS),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: certificate.toString("pem"), key: exportKey(keys.privateKey) };
}

/** Makes a new key for an agent. */
export async function createRequest(name: string): Promise<KeyedRequest> {
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [name] }],
    keys,
    signingAlgorithm: ALGORITHM,
  });
  return { request: request.toString("pem"), key: exportKey(keys.privateKey) };
}

/**
 * Issues an agent's certificate for the key in `request`. What the request says about its subject
 * is ignored: whose it is was proved elsewhere. @throws {StandinError} `CERTIFICATE_REQUEST_BAD`
 */
export async function issueCertificate(
  authority: KeyedCertificate,
  request: string,
  agent: AgentIdentityName,
  nowMs: number,
  lifetimeMs: number = AGENT_LIFETIME_MS,
): Promise<string> {
  const publicKey = await provedKey(request);
  const issuer = new x509.X509Certificate(authority.certificate);
  const signingKey = createPrivateKey(authority.key).toCryptoKey(ALGORITHM, false, ["sign"]);
  const { serverAuth, clientAuth } = x509.ExtendedKeyUsage;
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [agent.name] }],
    issuer: issuer.subjectName,
    publicKey,
    signingKey,
    signingAlgorithm: ALGORITHM,
    ...validity(nowMs, lifetimeMs),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([serverAuth, clientAuth]),
      new x509.SubjectAlternativeNameExtension([{ type: "url", value: agentUri(agent.id) }]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return certificate.toString("pem");
}

/** The key that has signed the request. */
async function provedKey(request: string): Promise<x509.X509Certificate["publicKey"]> {
  try {
    const parsed = new x509.Pkcs10CertificateRequest(request);
    if (await parsed.verify()) return parsed.publicKey;
  } catch {
    // As bad as a wrong signature.
  }
  throw new StandinError("CERTIFICATE_REQUEST_BAD", "a certificate request is damaged", {
    hint: "Both servers should run the same release of Standin.",
  });
}

function validity(nowMs: number, lifetimeMs: number): { notBefore: Date; notAfter: Date } {
  const notBefore = new Date(nowMs - CLOCK_TOLERANCE_MS);
  return { notBefore, notAfter: new Date(nowMs + lifetimeMs) };
}

function exportKey(key: webcrypto.CryptoKey): string {
  return KeyObject.from(key).export({ type: "pkcs8", format: "pem" }) as string;
}
