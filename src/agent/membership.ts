/**
 * Keeps the members' lists of all agents equal: each tells each other what it knows, at once when
 * something is new, and every half minute in any case. What one agent knows reaches all.
 */
import type { StandinError } from "../base/errors.ts";
import { type Clock, repeat } from "../platform/clock.ts";
import type { AgentLog } from "./agent-log.ts";
import { type FleetMember, parseMembers } from "./fleet-member.ts";
import type { FleetStore } from "./fleet-store.ts";
import type { Loop } from "./loop.ts";
import type { PeerNetwork } from "./peer-network.ts";

const EXCHANGE_MS = 30_000;
const ANSWER_MS = 10_000;
const COMMAND = "members.exchange";

/** How the last exchange with a member went. */
export interface Contact {
  readonly isReachable: boolean;
  /** Of the last exchange that succeeded, milliseconds since 1970; null when there was none. */
  readonly seenMs: number | null;
  /** Why the last one failed. */
  readonly problem: string | null;
}

const NO_CONTACT: Contact = { isReachable: false, seenMs: null, problem: null };

export class Membership implements Loop {
  readonly name = "members";
  readonly #store: FleetStore;
  readonly #network: PeerNetwork;
  readonly #clock: Clock;
  readonly #log: AgentLog;
  readonly #contacts = new Map<string, Contact>();
  readonly #running = new Map<string, Promise<void>>();
  #stopped = new AbortController();

  constructor(store: FleetStore, network: PeerNetwork, clock: Clock, log: AgentLog) {
    this.#store = store;
    this.#network = network;
    this.#clock = clock;
    this.#log = log;
    network.onRequest(COMMAND, (body, peer) => {
      this.#seen(peer.id);
      this.#take(body.members);
      return { members: store.members() };
    });
  }

  async start(): Promise<void> {
    this.#stopped = new AbortController();
    void repeat(this.#clock, EXCHANGE_MS, this.#stopped.signal, () => this.spread());
  }

  async stop(): Promise<void> {
    this.#stopped.abort(); // what still waits for a peer ends with the network
  }

  contactOf(id: string): Contact {
    return this.#contacts.get(id) ?? NO_CONTACT;
  }

  /** Ends what is open to removed members, and tells the others what we know. */
  async spread(): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    const others = this.#store.members().filter(({ id }) => id !== this.#store.identity.id);
    for (const { id, isRemoved } of others) if (isRemoved) this.#network.drop(id);
    // Who has just joined has no address before its agent runs, and then comes by itself.
    const present = others.filter((member) => !member.isRemoved && member.addresses.length > 0);
    await Promise.all(present.map((member) => this.#exchangeOnce(member)));
  }

  /** One exchange with a member at a time; one that comes meanwhile follows it. */
  #exchangeOnce(member: FleetMember): Promise<void> {
    const before = this.#running.get(member.id) ?? Promise.resolve();
    const exchange = before.then(() => this.#exchange(member));
    this.#running.set(member.id, exchange);
    return exchange;
  }

  async #exchange({ id, name }: FleetMember): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    try {
      const body = { members: this.#store.members() };
      const answer = await this.#network.request(id, COMMAND, body, ANSWER_MS);
      this.#seen(id);
      this.#take(answer.members);
    } catch (error) {
      const { seenMs, isReachable, problem } = this.contactOf(id);
      const { message } = error as StandinError;
      this.#contacts.set(id, { isReachable: false, seenMs, problem: message });
      const isNews = (isReachable || message !== problem) && !this.#stopped.signal.aborted;
      if (isNews) this.#log.warning("agent-unreachable", `cannot reach ${name}: ${message}`);
    }
  }

  #seen(id: string): void {
    if (!this.contactOf(id).isReachable) {
      const name = this.#store.memberById(id)?.name ?? id;
      this.#log.info("agent-reached", `in contact with ${name}`);
    }
    this.#contacts.set(id, { isReachable: true, seenMs: this.#clock.wallMs(), problem: null });
  }

  #take(value: unknown): void {
    const members = parseMembers(value);
    if (members === undefined || !this.#store.mergeMembers(members)) return;
    this.#log.info("members-changed", "the list of agents has changed");
    void this.spread();
  }
}
