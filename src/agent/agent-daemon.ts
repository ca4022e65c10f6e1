/**
 * The agent: the same program on each server, in every role. It holds the state folder, the port
 * and the control socket, and runs loops; jobs are loops that others add.
 */
import { StandinError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import { type Clock, repeat } from "../platform/clock.ts";
import { hostName, reachableAddresses } from "../platform/host.ts";
import type { ServiceManager } from "../platform/systemd.ts";
import {
  formatAddress,
  isWildcard,
  type NetworkAddress,
  parseAddress,
} from "../trust/network-address.ts";
import { AgentCommands } from "./agent-commands.ts";
import type { AgentLog } from "./agent-log.ts";
import { AgentState, agentSocket } from "./agent-state.ts";
import { CertificateRenewal } from "./certificate-renewal.ts";
import { ControlServer } from "./control-server.ts";
import { type AgentRequest, checkAgentRequest } from "./agent-request.ts";
import { Admission, checkAgentName, createFleet } from "./enrollment.ts";
import { addFleetCommands } from "./fleet-commands.ts";
import type { FleetStore } from "./fleet-store.ts";
import { addJobCommands } from "./jobs/job-commands.ts";
import { Jobs } from "./jobs/jobs.ts";
import type { Loop } from "./loop.ts";
import { LoopRunner } from "./loop-runner.ts";
import { Membership } from "./membership.ts";
import { PeerNetwork } from "./peer-network.ts";

export interface AgentOptions {
  /** The state folder. */
  readonly state: string;
  /** ADDRESS:PORT. Absent: as the last time. */
  readonly listen?: string | undefined;
  /** ADDRESS:PORT under which others reach us. Absent: as the last time, else from `listen`. */
  readonly advertise?: string | undefined;
  /** Only for the first start, which makes the fleet. Absent: the host's name. */
  readonly name?: string | undefined;
}

export class AgentDaemon {
  readonly store: FleetStore;
  /** Register purposes and requests of peers here, before {@link run}. */
  readonly network: PeerNetwork;
  /** Register commands of the control socket here. */
  readonly commands = new AgentCommands();
  readonly log: AgentLog;
  readonly clock: Clock;
  readonly statePath: string;
  readonly #state: AgentState;
  readonly #listen: NetworkAddress;
  readonly #advertise: string | undefined;
  readonly #loops: Loop[] = [];
  readonly #runner: LoopRunner;

  private constructor(state: AgentState, options: AgentOptions, log: AgentLog, clock: Clock) {
    this.#state = state;
    this.statePath = state.path;
    this.store = state.store;
    this.log = log;
    this.clock = clock;
    this.#listen = parseAddress(remembered(this.store, "listen", options.listen) ?? noAddress());
    this.#advertise = remembered(this.store, "advertise", options.advertise);
    this.network = new PeerNetwork(this.store, clock, (level, message, fields) =>
      log[level]("network", message, fields),
    );
    this.#runner = new LoopRunner(clock, log);
    this.#addFleet();
  }

  /**
   * Takes the state folder, and makes a fleet when this server is in none. @throws {StandinError}
   * `AGENT_RUNNING`, `STATE_*`, `NO_ADDRESS`, `INVALID_*`, `NAME_FIXED`
   */
  static async prepare(options: AgentOptions, log: AgentLog, clock: Clock): Promise<AgentDaemon> {
    for (const address of [options.listen, options.advertise]) {
      if (address !== undefined) parseAddress(address);
    }
    const state = AgentState.open(options.state);
    try {
      await ensureFleet(state.store, options, log, clock);
      return new AgentDaemon(state, options, log, clock);
    } catch (error) {
      state.close();
      throw error;
    }
  }

  /** Adds a loop, to be started behind those added before. Only before {@link run}. */
  addLoop(loop: Loop): void {
    this.#loops.push(loop);
  }

  /** Starts a loop while the agent runs, such as a job that was just made. */
  async startLoop(loop: Loop): Promise<void> {
    await this.#runner.start(loop);
  }

  /** Drains and stops a loop while the agent runs. */
  async stopLoop(loop: Loop): Promise<void> {
    await this.#runner.remove(loop);
  }

  /**
   * Runs until `signal` is aborted, then drains and stops everything and gives the state folder
   * back. @throws {StandinError} when something does not start; then everything was stopped.
   */
  async run(signal: AbortSignal, manager: ServiceManager): Promise<void> {
    const ended = new AbortController();
    let control: ControlServer | undefined;
    try {
      await this.network.listen(this.#listen.host, this.#listen.port);
      this.#publishAddresses();
      for (const loop of this.#loops) await this.#runner.start(loop);
      control = await this.#openControl();
      this.#announce(manager);
      void this.#watchdog(manager, ended.signal);
      await aborted(signal);
      manager.stopping();
      this.log.info("stopping", "stopping");
    } finally {
      await this.#runner.stopAll();
      ended.abort();
      await control?.close();
      await this.network.close();
      this.#state.close();
    }
    this.log.info("stopped", "stopped; everything is in order");
  }

  #addFleet(): void {
    const { store, network, clock, log, commands } = this;
    const membership = new Membership(store, network, clock, log);
    const spread = (): void => void membership.spread();
    const admission = new Admission(store, clock, (member) => {
      log.info("agent-joined", `${member.name} has joined the fleet`, { id: member.id });
      spread();
    });
    network.handleJoin((parameters) => admission.join(parameters));
    const renewal = new CertificateRenewal(store, network, admission, clock, log, spread);
    addFleetCommands(commands, { store, admission, membership, clock, log });
    commands.add("status", () => ({ ...this.#status() }));
    this.addLoop(membership);
    this.addLoop(renewal);
    const { statePath } = this;
    const jobs = new Jobs({ store, network, log, clock, statePath });
    addJobCommands(commands, jobs);
    this.addLoop(jobs);
  }

  #status(): object {
    const { id, name } = this.store.identity;
    const { port } = this.network;
    const loops = this.#runner.states();
    return { id, name, version: VERSION, address: this.#listen.host, port, loops };
  }

  #openControl(): Promise<ControlServer> {
    const path = agentSocket(this.statePath);
    return ControlServer.listenFor<AgentRequest>(
      path,
      (request, progress, asker) => this.commands.run(request, progress, asker),
      checkAgentRequest,
    );
  }

  /** Others learn where we are with the next exchange. */
  #publishAddresses(): void {
    const { host } = this.#listen;
    const { port } = this.network;
    const hosts = isWildcard(host) ? reachableAddresses() : [host];
    const own = hosts.map((address) => formatAddress({ host: address, port }));
    this.store.setOwnAddresses(this.#advertise === undefined ? own : [this.#advertise]);
  }

  #announce(manager: ServiceManager): void {
    const address = formatAddress({ host: this.#listen.host, port: this.network.port });
    const { name, id } = this.store.identity;
    const count = this.store.members().filter(({ isRemoved }) => !isRemoved).length;
    this.log.info("ready", `agent ${name} is ready at ${address}`, {
      id,
      version: VERSION,
      fleet: count,
    });
    manager.ready(`agent ${name} at ${address}`);
  }

  /** The sign of life comes from the event loop that does the work: when it hangs, none comes. */
  async #watchdog(manager: ServiceManager, signal: AbortSignal): Promise<void> {
    if (manager.watchdogMs === undefined) return;
    await repeat(this.clock, manager.watchdogMs, signal, () => manager.alive());
  }
}

async function ensureFleet(
  store: FleetStore,
  options: AgentOptions,
  log: AgentLog,
  clock: Clock,
): Promise<void> {
  const { name: given, listen } = options;
  const existing = store.identityIfAny;
  if (existing !== undefined) {
    if (given === undefined || given === existing.name) return;
    throw new StandinError("NAME_FIXED", `this agent is called ${existing.name} for good`, {
      hint: "To rename it, remove it from the fleet and let it join anew.",
    });
  }
  if (listen === undefined) noAddress();
  const name = checkAgentName(given ?? hostName());
  await createFleet(store, name, clock);
  log.info("fleet-made", `a new fleet begins with ${name}; let servers in with standin invite`);
}

function remembered(
  store: FleetStore,
  name: "listen" | "advertise",
  given: string | undefined,
): string | undefined {
  if (given !== undefined) store.saveSetting(name, given);
  return given ?? store.setting(name);
}

function noAddress(): never {
  throw new StandinError("NO_ADDRESS", "where shall the agent listen?", {
    hint: "Name it once: standin agent --listen ADDRESS:PORT, such as 10.0.0.1:7400.",
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve(), { once: true }),
  );
}
