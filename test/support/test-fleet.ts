/** Agents of one fleet in this process: real TLS between real networks, on loopback. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import type { TestContext } from "node:test";

import type { Report } from "../../src/agent/agent-log.ts";
import { createFleet, newAgentId } from "../../src/agent/enrollment.ts";
import { FleetStore } from "../../src/agent/fleet-store.ts";
import { PeerNetwork } from "../../src/agent/peer-network.ts";
import { systemClock } from "../../src/platform/clock.ts";
import { AGENT_LIFETIME_MS, createRequest, issueCertificate } from "../../src/trust/authority.ts";
import { validityOf } from "../../src/trust/certificate.ts";

export interface TestAgent {
  readonly name: string;
  readonly store: FleetStore;
  readonly network: PeerNetwork;
  /** What the network reported, as "message code". */
  readonly reports: string[];
}

export interface TestAgentOptions {
  /** When its certificate begins to live; default: now. */
  readonly issuedMs?: number;
}

export class TestFleet {
  readonly #folder = mkdtempSync(`${tmpdir()}/standin-fleet-`);
  readonly #agents: TestAgent[] = [];

  /** A fleet whose first agent is the authority; all listen, and all know each other. */
  static async start(t: TestContext, ...names: string[]): Promise<TestFleet> {
    const fleet = new TestFleet();
    t.after(() => fleet.close());
    for (const name of names) await fleet.add(name);
    return fleet;
  }

  agent(name: string): TestAgent {
    const found = this.#agents.find((agent) => agent.name === name);
    if (found === undefined) throw new Error(`no agent ${name}`);
    return found;
  }

  async add(name: string, { issuedMs = Date.now() }: TestAgentOptions = {}): Promise<TestAgent> {
    const store = FleetStore.open(`${this.#folder}/${name}.db`);
    if (this.#agents.length === 0) await createFleet(store, name, systemClock);
    else await this.#enroll(store, name, issuedMs);
    const reports: string[] = [];
    const report: Report = (_, message, { code }) => reports.push(`${message} ${code}`);
    const network = new PeerNetwork(store, systemClock, report);
    await network.listen("127.0.0.1", 0);
    store.setOwnAddresses([`127.0.0.1:${network.port}`]);
    const agent = { name, store, network, reports };
    this.#agents.push(agent);
    this.exchange();
    return agent;
  }

  /** Everybody learns what anybody knows. */
  exchange(): void {
    const lists = this.#agents.map(({ store }) => store.members());
    for (const { store } of this.#agents) for (const list of lists) store.mergeMembers(list);
  }

  async close(): Promise<void> {
    for (const { network, store } of this.#agents) {
      await network.close();
      store.close();
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #enroll(store: FleetStore, name: string, issuedMs: number): Promise<void> {
    const { authority } = this.#agents[0]!.store.identity;
    const agent = { id: newAgentId(), name };
    const { request, key } = await createRequest(name);
    const certificate = await issueCertificate(
      authority!,
      request,
      agent,
      issuedMs,
      AGENT_LIFETIME_MS,
    );
    const credentials = { certificate, key, authority: authority!.certificate };
    const own = {
      ...agent,
      addresses: [],
      isAuthority: false,
      expiresMs: validityOf(certificate).endMs,
      revision: 1,
      removedMs: null,
      isRemoved: false,
    };
    const members = [...this.#agents[0]!.store.members(), own];
    store.saveFleet(agent, credentials, undefined, members);
  }
}
