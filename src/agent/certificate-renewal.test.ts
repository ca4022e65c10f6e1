/** Renewal between real agents: when it is due, with a new key, and by whom. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { type TestAgent, TestFleet } from "../../test/support/test-fleet.ts";
import { systemClock } from "../platform/clock.ts";
import { AgentLog } from "./agent-log.ts";
import { CertificateRenewal } from "./certificate-renewal.ts";
import { Admission } from "./enrollment.ts";
import { Membership } from "./membership.ts";

const DAY_MS = 86_400_000;

interface Renewing {
  readonly renewal: CertificateRenewal;
  readonly membership: Membership;
  readonly lines: string[];
}

function renewing(t: TestContext, { store, network }: TestAgent): Renewing {
  const lines: string[] = [];
  const log = new AgentLog("journal", systemClock, (line) => lines.push(line));
  const admission = new Admission(store, systemClock, () => {});
  const membership = new Membership(store, network, systemClock, log);
  const spread = (): void => void membership.spread();
  const renewal = new CertificateRenewal(store, network, admission, systemClock, log, spread);
  t.after(async () => {
    await renewal.stop();
    await membership.stop();
  });
  return { renewal, membership, lines };
}

async function until(probe: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!probe()) {
    assert.ok(performance.now() < deadline, `in time: ${probe}`);
    await sleep(5);
  }
}

test("an agent renews in time at the authority, with a new key, and all hear of it", async (t) => {
  const fleet = await TestFleet.start(t, "a", "fresh");
  const old = await fleet.add("old", { issuedMs: Date.now() - 61 * DAY_MS });
  const [a, fresh] = [fleet.agent("a"), fleet.agent("fresh")];
  const authority = renewing(t, a);
  const parts = renewing(t, old);
  const freshParts = renewing(t, fresh);
  const before = { old: old.store.identity, fresh: fresh.store.identity };
  await parts.renewal.start();
  await freshParts.renewal.start();
  const isRenewed = (): boolean => old.store.identity.credentials !== before.old.credentials;
  await until(isRenewed);
  const { credentials, validity, id } = old.store.identity;
  assert.notEqual(credentials.key, before.old.credentials.key);
  assert.ok(validity.endMs > Date.now() + 89 * DAY_MS);
  assert.equal(id, before.old.id);
  assert.deepEqual(fresh.store.identity, before.fresh, "no renewal before its time");
  await until(() => a.store.memberById(id)?.expiresMs === validity.endMs);

  const [there, back] = await Promise.all([
    fresh.network.request("old", "members.exchange", {}, 5000),
    old.network.request("fresh", "members.exchange", {}, 5000),
  ]);
  assert.ok(Array.isArray(there.members) && Array.isArray(back.members));
  await authority.renewal.renew();
  assert.ok(a.store.identity.authority !== undefined, "the authority renews its own");
});

test("a renewal that fails is told, and a removed agent gets none", async (t) => {
  const fleet = await TestFleet.start(t, "a");
  const old = await fleet.add("old", { issuedMs: Date.now() - 61 * DAY_MS });
  renewing(t, fleet.agent("a"));
  fleet.agent("a").store.removeMember(old.store.identity.id, Date.now());
  const { renewal, lines } = renewing(t, old);
  await renewal.start();
  await until(() => lines.length > 0);
  assert.match(lines[0]!, /^<3>error: the certificate \(good until .+ was not renewed: .+removed/);
});
