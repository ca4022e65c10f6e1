/**
 * A network of TCP connections. Within one connection and direction nothing is lost, doubled or
 * reordered, but it may take any time, stop for ever, or be cut with any part of what was under
 * way lost; the other end may never learn of it. Bytes of an old connection may arrive after a
 * newer one was opened: that is where doubled and reordered ops come from.
 */
import type { Machine, Process } from "./machine.ts";
import { bytesOf, describe, type Message } from "./messages.ts";
import type { World } from "./world.ts";

export interface NetworkOptions {
  delayMsMin: number;
  delayMsMax: number;
  /** Beyond it a socket is not writable until something has left. */
  readonly bufferBytes: number;
}

export interface EndpointHandlers {
  readonly onMessage: (message: Message) => void;
  /** Once, unless this end has closed it. */
  readonly onClosed: () => void;
  readonly onDrain?: () => void;
}

interface Parcel {
  readonly atMs: number;
  /** Undefined: the end. */
  readonly message: Message | undefined;
  readonly bytes: number;
}

/** One direction of a connection. */
class Pipe {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly parcels: Parcel[] = [];
  bytes = 0;
  isHung = false;
  isScheduled = false;
  isEnded = false;
  lastMs = 0;

  constructor(from: Endpoint, to: Endpoint) {
    this.from = from;
    this.to = to;
  }

  /** Any number of the last messages never arrive. */
  dropSuffix(world: World): void {
    if (this.isEnded) return;
    const kept = world.prng.int(this.parcels.length + 1);
    for (const { bytes } of this.parcels.splice(kept)) this.bytes -= bytes;
  }
}

/** One end of a connection. */
export class Endpoint {
  readonly number: number;
  readonly machine: Machine;
  handlers: EndpointHandlers | undefined;
  owner: Process | undefined;
  isOpen = true;
  readonly #network: Network;
  #outgoing: Pipe | undefined;

  constructor(network: Network, number: number, machine: Machine) {
    this.#network = network;
    this.number = number;
    this.machine = machine;
  }

  get outgoing(): Pipe {
    return this.#outgoing as Pipe;
  }

  connectTo(peer: Endpoint): void {
    this.#outgoing = new Pipe(this, peer);
    peer.#outgoing = new Pipe(peer, this);
  }

  own(process: Process, handlers: EndpointHandlers): void {
    this.owner = process;
    this.handlers = handlers;
  }

  /** False when the buffer is full. */
  send(message: Message): boolean {
    if (!this.isOpen || this.outgoing.isEnded) return true;
    this.#network.carry(this.outgoing, message);
    return this.outgoing.bytes <= this.#network.options.bufferBytes;
  }

  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#network.end(this.outgoing);
  }
}

/** Takes a connection whose first message has arrived: sets its owner. */
export type Listener = (endpoint: Endpoint) => void;

export class Network {
  readonly options: NetworkOptions;
  readonly #world: World;
  readonly #listeners = new Map<string, Listener>();
  readonly #blocked = new Set<string>();
  #endpoints: Endpoint[] = [];
  #connections = 0;

  constructor(world: World, options: NetworkOptions) {
    this.#world = world;
    this.options = options;
  }

  listen(machine: Machine, listener: Listener | undefined): void {
    if (listener === undefined) this.#listeners.delete(machine.name);
    else this.#listeners.set(machine.name, listener);
  }

  /** What is sent at once arrives when the peer has taken the connection, if it ever does. */
  open(from: Machine, to: Machine, process: Process, handlers: EndpointHandlers): Endpoint {
    this.#connections += 1;
    const near = new Endpoint(this, this.#connections, from);
    const far = new Endpoint(this, this.#connections, to);
    near.connectTo(far);
    near.own(process, handlers);
    this.#endpoints = this.#endpoints.filter(
      (one) => one.isOpen || one.outgoing.parcels.length > 0,
    );
    this.#endpoints.push(near, far);
    return near;
  }

  carry(pipe: Pipe, message: Message | undefined): void {
    const { delayMsMin, delayMsMax } = this.options;
    const world = this.#world;
    pipe.lastMs = Math.max(pipe.lastMs, world.nowMs + world.between(delayMsMin, delayMsMax));
    const bytes = message === undefined ? 0 : bytesOf(message);
    pipe.parcels.push({ atMs: pipe.lastMs, message, bytes });
    pipe.bytes += bytes;
    this.#schedule(pipe);
  }

  /** The end follows what is under way; of that, a part is lost when the end is a reset. */
  end(pipe: Pipe): void {
    if (pipe.isEnded) return;
    if (this.#world.prng.chance(0.5)) pipe.dropSuffix(this.#world);
    pipe.isEnded = true;
    this.carry(pipe, undefined);
  }

  /** Connections that are open at one end at least. */
  get connected(): Endpoint[] {
    return this.#endpoints.filter(({ isOpen }) => isOpen);
  }

  /** Something between the two ends has dropped the connection: both learn of it, in time. */
  cut(endpoint: Endpoint): void {
    const pipe = endpoint.outgoing;
    for (const direction of [pipe, pipe.to.outgoing]) {
      if (direction.isEnded) continue;
      direction.dropSuffix(this.#world);
      direction.isEnded = true;
      this.carry(direction, undefined);
    }
  }

  /** Nothing goes from this end any more, and nobody is told. */
  hang(endpoint: Endpoint): void {
    endpoint.outgoing.isHung = true;
  }

  block(from: Machine, to: Machine): void {
    this.#blocked.add(linkOf(from, to));
  }

  unblock(from: Machine, to: Machine): void {
    this.#blocked.delete(linkOf(from, to));
    this.#wake();
  }

  /** The kernel closes what a killed process had open. */
  killed(process: Process): void {
    for (const endpoint of this.#endpoints) if (endpoint.owner === process) endpoint.close();
  }

  /** Nobody is told; whoever sends to it after it is up again is. */
  crashed(machine: Machine): void {
    for (const endpoint of this.#endpoints) {
      if (endpoint.machine !== machine) continue;
      endpoint.isOpen = false;
      endpoint.outgoing.dropSuffix(this.#world);
    }
  }

  restarted(): void {
    this.#wake();
  }

  #wake(): void {
    for (const { outgoing } of this.#endpoints) this.#schedule(outgoing);
  }

  #isStopped({ isHung, from, to }: Pipe): boolean {
    return isHung || !to.machine.isUp || this.#blocked.has(linkOf(from.machine, to.machine));
  }

  #schedule(pipe: Pipe): void {
    const [first] = pipe.parcels;
    if (first === undefined || pipe.isScheduled || this.#isStopped(pipe)) return;
    pipe.isScheduled = true;
    this.#world.after(Math.max(0, first.atMs - this.#world.nowMs), () => {
      pipe.isScheduled = false;
      this.#deliver(pipe);
      this.#schedule(pipe);
    });
  }

  #deliver(pipe: Pipe): void {
    const [first] = pipe.parcels;
    if (first === undefined || first.atMs > this.#world.nowMs || this.#isStopped(pipe)) return;
    pipe.parcels.shift();
    const wasFull = pipe.bytes > this.options.bufferBytes;
    pipe.bytes -= first.bytes;
    this.#arrive(pipe.to, first.message);
    const { from } = pipe;
    if (!wasFull || pipe.bytes > this.options.bufferBytes || !from.isOpen) return;
    from.owner?.post(() => {
      if (from.isOpen) from.handlers?.onDrain?.();
    });
  }

  #arrive(to: Endpoint, message: Message | undefined): void {
    if (!to.isOpen) {
      if (message !== undefined) this.end(to.outgoing);
      return;
    }
    if (to.handlers === undefined && message !== undefined) {
      this.#listeners.get(to.machine.name)?.(to);
      if (to.handlers === undefined) {
        to.close();
        return;
      }
    }
    this.#world.trace(to.machine.name, () => {
      return `#${to.number} < ${message === undefined ? "end" : describe(message)}`;
    });
    to.owner?.post(() => {
      if (!to.isOpen) return;
      if (message !== undefined) return to.handlers?.onMessage(message);
      to.isOpen = false;
      this.end(to.outgoing);
      to.handlers?.onClosed();
    });
  }
}

function linkOf(from: Machine, to: Machine): string {
  return `${from.name}>${to.name}`;
}
