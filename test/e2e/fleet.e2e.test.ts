/** A fleet as an operator makes it: the first agent, invitations, joins, restarts, removal. */
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { type TestContext, test } from "node:test";

import { freePort } from "../support/free-port.ts";
import { AgentRun, until } from "../support/agent-run.ts";

interface Listed {
  readonly name: string;
  readonly isSelf: boolean;
  readonly isReachable: boolean;
  readonly problem: string | null;
}

function invite(agent: AgentRun, ...options: string[]): string {
  return String(agent.json("invite", ...options).token);
}

function agentsOf(agent: AgentRun): Listed[] {
  return agent.json("agents").agents as Listed[];
}

async function untilAllInContact(agent: AgentRun, ...names: string[]): Promise<void> {
  await until(
    () => {
      const listed = agentsOf(agent);
      const isAll = listed.map(({ name }) => name).join() === names.join();
      return (isAll && listed.every(({ isReachable }) => isReachable)) || undefined;
    },
    () => JSON.stringify(agentsOf(agent)),
  );
}

function failsWith(ended: { code: number | null; stdout: string; stderr: string }, code: string) {
  assert.equal(ended.code, 1, ended.stderr);
  assert.match(ended.stdout, new RegExp(`"code":"${code}"`));
  assert.match(ended.stderr, /^standin: .+\n {2}\S.+\n$/m, "a line, and a hint");
}

function joining(agent: AgentRun, token: string, name: string, address = "127.0.0.2:0") {
  return agent.command("join", token, "--listen", address, "--name", name, "--json");
}

/** Two agents of one fleet on two addresses of this machine, both running. */
async function startPair(t: TestContext): Promise<[AgentRun, AgentRun]> {
  const [a, b] = [new AgentRun(t), new AgentRun(t)];
  // After a restart the others look for an agent where it was.
  await a.start("--listen", `127.0.0.1:${await freePort("127.0.0.1")}`, "--name", "a");
  const address = `127.0.0.2:${await freePort("127.0.0.2")}`;
  const { code, stderr } = joining(b, invite(a), "b", address);
  assert.equal(code, 0, stderr);
  await b.start();
  return [a, b];
}

test("two servers become a fleet, know each other, and find each other again", async (t) => {
  const [a, b] = await startPair(t);
  await untilAllInContact(a, "a", "b");
  await untilAllInContact(b, "a", "b");
  assert.deepEqual(
    agentsOf(b).map(({ isSelf }) => isSelf),
    [false, true],
  );
  for (const { state } of [a, b]) {
    assert.equal(statSync(state).mode & 0o777, 0o700);
    for (const name of readdirSync(state)) {
      assert.equal(statSync(`${state}/${name}`).mode & 0o777, 0o600, name);
    }
  }

  assert.equal(await a.stop(), 0);
  assert.equal(await b.stop(), 0);
  assert.equal(a.log.at(-1)?.event, "stopped");
  await b.start();
  await a.start();
  await untilAllInContact(a, "a", "b");
  await untilAllInContact(b, "a", "b");

  b.kill();
  await b.ended();
  await b.start();
  await untilAllInContact(b, "a", "b");
  const table = b.command("agents");
  assert.match(table.stdout, /^NAME +ADDRESS +CONTACT/);
  assert.match(table.stdout, /^a \(authority\) +127\.0\.0\.1:\d+ +yes +for 89d/m);
});

test("a token lets one server in, once, in its time, and only whole", async (t) => {
  const a = new AgentRun(t);
  await a.start("--listen", "127.0.0.1:0", "--name", "a");
  const token = invite(a);
  const late = invite(a, "--expires", "1ms");
  const damaged = `${token.slice(0, 40)}${token[40] === "A" ? "B" : "A"}${token.slice(41)}`;
  const b = new AgentRun(t);
  failsWith(joining(b, damaged, "b"), "TOKEN_DAMAGED");
  failsWith(joining(b, token.slice(0, -3), "b"), "TOKEN_DAMAGED");
  failsWith(joining(b, late, "b"), "PEER_REFUSED");
  assert.match(joining(b, late, "b").stderr, /the token has expired/);
  failsWith(joining(b, token, "a"), "PEER_REFUSED");
  assert.match(joining(b, token, "a").stderr, /has an agent a already/);

  assert.equal(joining(b, token, "b").code, 0, "what was refused has not used the token up");
  failsWith(joining(b, token, "b"), "ALREADY_MEMBER");
  const c = new AgentRun(t);
  assert.match(joining(c, token, "c").stderr, /was used before/);
  assert.deepEqual(
    agentsOf(a).map(({ name }) => name),
    ["a", "b"],
  );

  // Another fleet at the address of the token: its secret is not sent there.
  const port = await until(
    () => /:(\d+)"/.exec(JSON.stringify(agentsOf(a)))?.[1],
    () => "no port",
  );
  const stale = invite(a);
  await a.stop();
  const other = new AgentRun(t);
  await other.start("--listen", `127.0.0.1:${port}`, "--name", "other");
  failsWith(joining(c, stale, "c"), "CERTIFICATE_FOREIGN");
  await other.stop();
  failsWith(joining(c, stale, "c"), "PEER_UNREACHABLE");
});

test("a removed server is refused by all, and an agent cannot remove the authority", async (t) => {
  const [a, b] = await startPair(t);
  const c = new AgentRun(t);
  assert.equal(joining(c, invite(a), "c", "127.0.0.3:0").code, 0);
  await c.start();
  await untilAllInContact(b, "a", "b", "c");
  await untilAllInContact(c, "a", "b", "c");
  failsWith(b.command("invite", "--json"), "NOT_AUTHORITY");
  failsWith(b.command("remove", "a", "--json"), "AUTHORITY_NEEDED");
  failsWith(b.command("remove", "b", "--json"), "CANNOT_REMOVE_SELF");
  failsWith(b.command("remove", "nobody", "--json"), "UNKNOWN_AGENT");

  assert.equal(b.json("remove", "c").name, "c");
  await untilAllInContact(b, "a", "b");
  await untilAllInContact(a, "a", "b");
  await c.stop();
  await c.start();
  await until(
    () =>
      agentsOf(c).every(({ isSelf, problem }) => isSelf || problem !== null) ? true : undefined,
    () => JSON.stringify(agentsOf(c)),
  );
  for (const { isSelf, problem } of agentsOf(c)) {
    if (!isSelf) assert.match(String(problem), /c was removed from the fleet/);
  }
});

test("an agent that cannot start says why", async (t) => {
  const a = new AgentRun(t);
  failsWith(a.command("agent", "--json"), "NO_ADDRESS");
  failsWith(a.command("agent", "--listen", "nonsense", "--json"), "INVALID_ADDRESS");
  failsWith(a.command("agent", "--listen", "192.0.2.1:7400", "--json"), "LISTEN_FAILED");
  failsWith(a.command("agents", "--json"), "NOT_RUNNING");
  await a.start("--listen", "127.0.0.1:0");
  failsWith(a.command("agent", "--json"), "AGENT_RUNNING");
  failsWith(joining(a, "xyz", "b"), "TOKEN_DAMAGED");
  await a.stop();
  failsWith(a.command("agent", "--name", "other", "--json"), "NAME_FIXED");
  const open = new AgentRun(t);
  mkdirSync(open.state);
  chmodSync(open.state, 0o750);
  failsWith(open.command("agent", "--listen", "127.0.0.1:0", "--json"), "STATE_OPEN");
});
