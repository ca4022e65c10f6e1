/** Certificates, tokens, names and the decisions about them. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";

import {
  AGENT_LIFETIME_MS,
  AUTHORITY_LIFETIME_MS,
  CLOCK_TOLERANCE_MS,
  createAuthority,
  createRequest,
  issueCertificate,
} from "./authority.ts";
import { agentIdOf, fingerprintOf, isAgentId, isAgentName, validityOf } from "./certificate.ts";
import { createToken, formatToken, hashOfSecret, parseToken } from "./invitation-token.ts";
import { formatAddress, isWildcard, parseAddress } from "./network-address.ts";
import { type KnownAgent, proveAgent } from "./proof.ts";
import { isRenewalDue, renewalDueMs } from "./renewal.ts";

const NOW_MS = Date.UTC(2026, 0, 1);
const AGENT = { id: "0123456789abcdef0123456789abcdef", name: "mail1" };

async function issued() {
  const authority = await createAuthority("f1", NOW_MS);
  const { request, key } = await createRequest("somebody-else");
  const certificate = await issueCertificate(authority, request, AGENT, NOW_MS);
  return { authority, key, certificate, request };
}

test("a certificate is of the authority, for the agent, with tolerance for clocks", async () => {
  const { authority, certificate, key } = await issued();
  const issuer = new X509Certificate(authority.certificate);
  const leaf = new X509Certificate(certificate);
  assert.ok(issuer.ca && issuer.checkIssued(issuer) && issuer.verify(issuer.publicKey));
  assert.ok(!leaf.ca && leaf.checkIssued(issuer) && leaf.verify(issuer.publicKey));
  assert.equal(leaf.subject, "CN=mail1", "the subject in the request does not count");
  assert.equal(agentIdOf(leaf), AGENT.id);
  assert.equal(agentIdOf(issuer), undefined);
  assert.equal(fingerprintOf(issuer).length, 32);
  assert.match(key, /BEGIN PRIVATE KEY/);
  const startMs = NOW_MS - CLOCK_TOLERANCE_MS;
  assert.deepEqual(validityOf(leaf), { startMs, endMs: NOW_MS + AGENT_LIFETIME_MS });
  assert.deepEqual(validityOf(authority.certificate).endMs, NOW_MS + AUTHORITY_LIFETIME_MS);
});

test("a damaged request for a certificate is refused", async () => {
  const { authority, request } = await issued();
  const at = Math.floor(request.length / 2);
  const flipped = request[at] === "A" ? "B" : "A";
  for (const bad of ["", "nonsense", `${request.slice(0, at)}${flipped}${request.slice(at + 1)}`]) {
    await assert.rejects(issueCertificate(authority, bad, AGENT, NOW_MS), {
      code: "CERTIFICATE_REQUEST_BAD",
    });
  }
});

test("a peer is proved by chain, membership and no removal, in this order", async () => {
  const certificate = new X509Certificate((await issued()).certificate);
  const member: KnownAgent = { ...AGENT, isRemoved: false };
  const prove = (problem: string | undefined, known: KnownAgent | undefined) =>
    proveAgent({ certificate, problem }, (id) => (id === AGENT.id ? known : undefined));
  assert.deepEqual(prove(undefined, member), AGENT);
  const cases: [problem: string | undefined, known: KnownAgent | undefined, code: string][] = [
    ["CERT_HAS_EXPIRED", member, "CERTIFICATE_EXPIRED"],
    ["CERT_NOT_YET_VALID", member, "CERTIFICATE_NOT_YET_VALID"],
    ["SELF_SIGNED_CERT_IN_CHAIN", member, "CERTIFICATE_FOREIGN"],
    [undefined, undefined, "CERTIFICATE_UNKNOWN"],
    [undefined, { ...member, isRemoved: true }, "CERTIFICATE_REVOKED"],
  ];
  for (const [problem, known, code] of cases) assert.throws(() => prove(problem, known), { code });
  const nothing = { certificate: undefined, problem: undefined };
  assert.throws(() => proveAgent(nothing, () => member), { code: "CERTIFICATE_MISSING" });
});

test("a certificate is renewed at two thirds of its life", () => {
  const validity = { startMs: 1000, endMs: 4000 };
  assert.equal(renewalDueMs(validity), 3000);
  assert.equal(isRenewalDue(validity, 2999), false);
  assert.equal(isRenewalDue(validity, 3000), true);
});

test("a token is read as it was made, and any damage is found", () => {
  const address = { host: "fd00::1", port: 7400 };
  const token = createToken(address, new Uint8Array(32).fill(7));
  const text = formatToken(token);
  assert.match(text, /^[\w-]+$/);
  assert.deepEqual(parseToken(` ${text}\n`), {
    ...token,
    secret: Uint8Array.from(token.secret),
  });
  assert.match(hashOfSecret(token.secret), /^[0-9a-f]{64}$/);
  fc.assert(
    fc.property(fc.nat(text.length - 2), fc.constantFrom(..."AZaz09-_"), (at, letter) => {
      fc.pre(text[at] !== letter);
      const damaged = text.slice(0, at) + letter + text.slice(at + 1);
      assert.throws(() => parseToken(damaged), { code: "TOKEN_DAMAGED" });
    }),
  );
  fc.assert(
    fc.property(fc.string(), (noise) => {
      assert.throws(() => parseToken(noise), { code: "TOKEN_DAMAGED" });
    }),
  );
});

test("addresses are written as operators write them", () => {
  for (const text of ["10.0.0.1:7400", "[fd00::1]:7400", "mail1.example.com:1", "0.0.0.0:0"]) {
    assert.equal(formatAddress(parseAddress(text)), text);
  }
  for (const text of ["", "7400", "10.0.0.1", "fd00::1:7400", "a:99999", "[x]:1", "a b:1", "a:"]) {
    assert.throws(() => parseAddress(text), { code: "INVALID_ADDRESS" }, text);
  }
  assert.deepEqual(["0.0.0.0", "::", "10.0.0.1"].map(isWildcard), [true, true, false]);
});

test("names are like those of hosts, and never look like ids", () => {
  for (const name of ["a", "mail1.example.com", "A_b-c", "x".repeat(63)]) {
    assert.ok(isAgentName(name), name);
  }
  for (const name of ["", "-a", "a b", "ä", "x".repeat(64), AGENT.id, 7, undefined]) {
    assert.equal(isAgentName(name), false, String(name));
  }
  assert.equal(isAgentId(AGENT.id), true);
  assert.equal(isAgentId("x"), false);
});
