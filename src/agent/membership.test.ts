/** How what one agent knows reaches all, between real networks. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { TestFleet } from "../../test/support/test-fleet.ts";
import { systemClock } from "../platform/clock.ts";
import { AgentLog } from "./agent-log.ts";
import { Membership } from "./membership.ts";

async function started(t: TestContext, fleet: TestFleet, ...names: string[]) {
  const lines: string[] = [];
  const log = new AgentLog("journal", systemClock, (line) => lines.push(line));
  const memberships = names.map((name) => {
    const { store, network } = fleet.agent(name);
    return new Membership(store, network, systemClock, log);
  });
  t.after(() => Promise.all(memberships.map((membership) => membership.stop())));
  for (const membership of memberships) await membership.start();
  return { memberships, lines };
}

async function until(probe: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!probe()) {
    assert.ok(performance.now() < deadline, `in time: ${probe}`);
    await sleep(5);
  }
}

test("a change reaches agents that only others know how to reach", async (t) => {
  const fleet = await TestFleet.start(t, "a", "b", "c");
  const { memberships } = await started(t, fleet, "a", "b", "c");
  const [a, b, c] = ["a", "b", "c"].map((name) => fleet.agent(name));
  const id = (c?.store.identity.id ?? "") as string;
  await until(() => memberships[0]?.contactOf(id).isReachable === true);
  c?.store.setOwnAddresses([`127.0.0.1:${c.network.port}`, "192.0.2.1:1"]);
  await memberships[2]?.spread();
  const known = () => [a, b].map((agent) => agent?.store.memberById(id)?.addresses.length);
  await until(() => known().join() === "2,2");
});

test("a removal cuts what is open, everywhere", async (t) => {
  const fleet = await TestFleet.start(t, "a", "b", "c");
  const { memberships } = await started(t, fleet, "a", "b");
  fleet.agent("b").network.handle("stream", () => {});
  const { socket } = await fleet.agent("c").network.connect("b", "stream", {});
  socket.resume();
  const closed = once(socket, "close");
  const { id } = fleet.agent("c").store.identity;
  fleet.agent("a").store.removeMember(id, Date.now());
  await memberships[0]?.spread();
  await closed;
  assert.equal(fleet.agent("b").store.memberById(id)?.isRemoved, true);
  await assert.rejects(fleet.agent("c").network.connect("b", "stream", {}), {
    peerCode: "CERTIFICATE_REVOKED",
  });
});

test("an agent that is away is told once, and again when it is back", async (t) => {
  const fleet = await TestFleet.start(t, "a", "b");
  const { memberships, lines } = await started(t, fleet, "a");
  const [membership] = memberships;
  const { id } = fleet.agent("b").store.identity;
  await until(() => lines.length > 0); // b does not know the command
  assert.match(lines[0] ?? "", /^<4>warning: cannot reach b: the peer does not know/);
  await membership?.spread();
  assert.equal(lines.length, 1);
  assert.equal(membership?.contactOf(id).isReachable, false);
  await started(t, fleet, "b");
  await membership?.spread();
  assert.match(lines[1] ?? "", /in contact with b/);
  assert.equal(membership?.contactOf(id).isReachable, true);
});
