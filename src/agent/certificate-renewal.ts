/** Renews the agent's own certificate when two thirds of its life are over, with a new key. */
import { StandinError } from "../base/errors.ts";
import { type Clock, repeat } from "../platform/clock.ts";
import { validityOf } from "../trust/certificate.ts";
import { isRenewalDue } from "../trust/renewal.ts";
import type { AgentLog } from "./agent-log.ts";
import type { Admission } from "./enrollment.ts";
import type { FleetStore } from "./fleet-store.ts";
import type { Loop } from "./loop.ts";
import type { PeerNetwork } from "./peer-network.ts";

const CHECK_MS = 3_600_000;
const ANSWER_MS = 30_000;
const COMMAND = "certificate.renew";

export class CertificateRenewal implements Loop {
  readonly name = "certificate";
  readonly #store: FleetStore;
  readonly #network: PeerNetwork;
  readonly #admission: Admission;
  readonly #clock: Clock;
  readonly #log: AgentLog;
  readonly #renewed: () => void;
  #stopped = new AbortController();

  constructor(
    store: FleetStore,
    network: PeerNetwork,
    admission: Admission,
    clock: Clock,
    log: AgentLog,
    renewed: () => void,
  ) {
    this.#store = store;
    this.#network = network;
    this.#admission = admission;
    this.#clock = clock;
    this.#log = log;
    this.#renewed = renewed;
    network.onRequest(COMMAND, (body, peer) => admission.renew(peer, body.request));
  }

  async start(): Promise<void> {
    this.#stopped = new AbortController();
    void repeat(this.#clock, CHECK_MS, this.#stopped.signal, () => this.#check());
  }

  async stop(): Promise<void> {
    this.#stopped.abort(); // a request in hand ends with the network
  }

  async #check(): Promise<void> {
    if (!isRenewalDue(this.#store.identity.validity, this.#clock.wallMs())) return;
    try {
      await this.renew();
    } catch (error) {
      if (this.#stopped.signal.aborted) return;
      const until = new Date(this.#store.identity.validity.endMs).toISOString();
      const message = `the certificate (good until ${until}) was not renewed: ${error}`;
      this.#log.error("renewal-failed", `${message}; trying again in an hour`);
    }
  }

  /** Gets a new certificate now. @throws {StandinError} */
  async renew(): Promise<void> {
    const { identity } = this.#store;
    const { createRequest } = await import("../trust/authority.ts");
    const { request, key } = await createRequest(identity.name);
    const answer =
      identity.authority === undefined
        ? await this.#network.request(this.#holder(), COMMAND, { request }, ANSWER_MS)
        : await this.#admission.renew(identity, request);
    const certificate = String(answer.certificate);
    this.#store.saveCertificate(certificate, key);
    this.#network.credentialsChanged();
    const until = new Date(validityOf(certificate).endMs).toISOString();
    this.#log.info("certificate-renewed", "the agent's certificate was renewed", { until });
    this.#renewed();
  }

  #holder(): string {
    const members = this.#store.members().filter(({ isRemoved }) => !isRemoved);
    const holder = members.find(({ isAuthority }) => isAuthority);
    if (holder !== undefined) return holder.id;
    throw new StandinError("NO_AUTHORITY", "the agent that made the fleet was removed", {
      hint: "Make a new fleet: start standin agent with a fresh --state, and let all join it.",
    });
  }
}
