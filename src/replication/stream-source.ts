/**
 * Runs the sender of one job to one target: performs its effects over a connection, and tells it
 * what happens. Also carries what is not ops: the state of the source's ring one way, the target's
 * questions and how its copy is the other way.
 */
import type { OpRecords } from "../model/op-records.ts";
import type { Clock } from "../platform/clock.ts";
import {
  type Frame,
  FrameType,
  FrameError,
  parseJsonPayload,
  PayloadPool,
} from "../protocol/frame.ts";
import {
  parsePositions,
  parseTargetState,
  type SourceState,
  type StreamWelcome,
  type TargetState,
} from "../protocol/stream-messages.ts";
import type { OwnerTeller } from "./owner-teller.ts";
import { Sender, SENDER_DEFAULTS, type SenderEffect, type SenderEvent } from "./sender.ts";
import { FrameChannel, type StreamConnection } from "./stream-connection.ts";

/** Off, always, or only while the network and not the processor holds up the stream. */
export type Compression = "off" | "on" | "adaptive";

/** Where the ops are that are sent. */
export interface OpSource {
  /** A cursor for one connection. */
  reader(): OpCursor;
}

export interface OpCursor {
  /**
   * Ops from `from` on, in memory of their own or from `pool`; undefined when there is none yet.
   * @throws when they are not kept any more
   */
  read(from: number, bytesMax: number, pool: PayloadPool): Promise<OpRecords | undefined>;
  close(): Promise<void>;
}

export interface StreamSourceOptions {
  readonly clock: Clock;
  readonly store: OpSource;
  /** Opens a connection and says hello. @throws {StandinError} */
  readonly connect: (
    signal: AbortSignal,
  ) => Promise<{ readonly connection: StreamConnection; readonly welcome: StreamWelcome }>;
  /** Undefined while nothing is known of it. */
  readonly ringState: () => SourceState | undefined;
  readonly onTarget: (state: TargetState) => void;
  readonly onChange: (change: { readonly connected: boolean; readonly why: string }) => void;
  readonly compression: Compression;
  /** Where the target is to know users and groups by name. */
  readonly owners: OwnerTeller | undefined;
  /** The ops as the target is to see them. */
  readonly route: (records: OpRecords) => OpRecords;
  /** Bytes that may be sent until now by the bandwidth limit; `Infinity` without one. */
  readonly allowance: () => number;
}

/** Of payloads between two uses: as much as is ever under way. */
const POOL_BYTES_MAX = 8 << 20;
/** A socket that stays full for so long waits for the network, not for a peer that is busy. */
const SLOW_DRAIN_MS = 20;
/** After the network was found slow, frames are compressed for so long. */
const CROWDED_MS = 1000;

export class StreamSource {
  readonly #options: StreamSourceOptions;
  /** Of the connection in hand: a read of an earlier one may still be under way. */
  #reader: OpCursor | undefined;
  #sender = new Sender(0, SENDER_DEFAULTS);
  readonly #events: SenderEvent[] = [];
  readonly #pool = new PayloadPool(POOL_BYTES_MAX);
  #channel: FrameChannel | undefined;
  /** Since when ops have filled the socket. */
  #fullAtMs: number | undefined;
  #crowdedAtMs = Number.NEGATIVE_INFINITY;
  #stateSent: SourceState | undefined;
  #opsSent = 0;
  #bytesSent = 0;
  #lastError: string | undefined;
  readonly #stopping = new AbortController();

  constructor(options: StreamSourceOptions) {
    this.#options = options;
  }

  get isConnected(): boolean {
    return this.#channel !== undefined && !this.#channel.isClosed;
  }
  /** Ops up to here are on the target's disk; 0 before the first connection. */
  get durable(): number {
    return this.#sender.durable;
  }
  get applied(): number {
    return this.#sender.applied;
  }
  get opsSent(): number {
    return this.#opsSent;
  }
  get bytesSent(): number {
    return this.#bytesSent + (this.#channel?.bytesSent ?? 0);
  }
  /** Why there is no connection, in words. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** Called often: after new ops, and as time passes. */
  pump(availableLsn: number): void {
    if (this.#stopping.signal.aborted) return;
    const allowance = this.#options.allowance();
    this.#step({ kind: "allowance", bytes: allowance });
    this.#step({ kind: "available", lsn: availableLsn });
    this.#sendState();
  }

  /** Begins anew on another connection, if there is one. */
  reconnect(why: string): void {
    this.#channel?.close(why);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#channel?.close("the job was stopped");
    await this.#reader?.close();
  }

  /** One after the other: what an effect brings about is told when all effects are performed. */
  #step(event: SenderEvent): void {
    this.#events.push(event);
    if (this.#events.length > 1) return;
    try {
      for (let next = this.#events[0]; next !== undefined; next = this.#events[0]) {
        const effects = this.#sender.step(next, this.#options.clock.monotonicMs());
        for (const effect of effects) this.#perform(effect);
        this.#events.shift();
      }
    } finally {
      this.#events.length = 0;
    }
  }

  #perform(effect: SenderEffect): void {
    switch (effect.kind) {
      case "connect":
        void this.#connect();
        break;
      case "send":
        void this.#send(effect.from, effect.bytesMax);
        break;
      case "heartbeat":
        this.#channel?.send({ type: FrameType.heartbeat, payload: new Uint8Array(0) });
        break;
      case "close":
        this.#channel?.close(effect.reason);
        break;
    }
  }

  async #connect(): Promise<void> {
    const { signal } = this.#stopping;
    try {
      const opened = await this.#options.connect(signal);
      if (signal.aborted) opened.connection.socket.destroy();
      else if (opened.welcome.durable < this.#sender.durable) this.#beginAnew(opened.connection);
      else this.#open(opened.connection, opened.welcome);
    } catch (error) {
      this.#lastError = (error as Error).message;
      this.#options.onChange({ connected: false, why: this.#lastError });
      this.#step({ kind: "disconnected" });
    }
  }

  /** The target has lost what it had: what is known of it is true of nothing any more. */
  #beginAnew({ socket }: StreamConnection): void {
    socket.destroy();
    this.#sender = new Sender(0, SENDER_DEFAULTS);
    this.#lastError = "the target has lost what it had, and gets everything anew";
    this.#options.onChange({ connected: false, why: this.#lastError });
  }

  #open(stream: StreamConnection, { durable, applied }: StreamWelcome): void {
    const channel = new FrameChannel(stream, {
      onFrame: (frame) => this.#onFrame(channel, frame),
      onDrain: () => this.#drained(channel),
      onClose: (reason) => this.#closed(channel, reason),
    });
    this.#channel = channel;
    this.#reader = this.#options.store.reader();
    this.#options.owners?.connected();
    this.#stateSent = undefined;
    this.#fullAtMs = undefined;
    this.#lastError = undefined;
    this.#options.onChange({ connected: true, why: "" });
    this.#step({ kind: "connected", durable, applied });
    this.#sendState();
  }

  #closed(channel: FrameChannel, reason: string): void {
    if (channel !== this.#channel) return;
    this.#channel = undefined;
    void this.#reader?.close();
    this.#reader = undefined;
    this.#bytesSent += channel.bytesSent;
    this.#lastError = reason;
    this.#options.onChange({ connected: false, why: reason });
    this.#step({ kind: "disconnected" });
  }

  async #send(from: number, bytesMax: number): Promise<void> {
    const channel = this.#channel;
    const reader = this.#reader;
    if (channel === undefined || reader === undefined) return;
    try {
      const batch = await reader.read(from, bytesMax, this.#pool);
      if (channel !== this.#channel) return;
      if (batch === undefined) throw new Error(`op ${from} is not there`);
      const records = this.#options.route(batch);
      const { firstLsn, lastLsn, payload } = records;
      const { owners, clock } = this.#options;
      for (const names of (await owners?.untold(payload, clock.monotonicMs())) ?? []) {
        if (channel === this.#channel) channel.sendJson(FrameType.owners, names);
      }
      if (channel !== this.#channel) return;
      const hasRoom = channel.sendOps(records, this.#compresses(), () => {
        this.#pool.giveBack(batch.payload);
      });
      if (!hasRoom) {
        this.#fullAtMs = clock.monotonicMs();
        this.#step({ kind: "writable", isWritable: false });
      }
      this.#opsSent += lastLsn - firstLsn + 1;
      this.#step({ kind: "sent", last: lastLsn, bytes: payload.length });
    } catch (error) {
      channel.close(`ops cannot be sent: ${(error as Error).message}`);
    }
  }

  #drained(channel: FrameChannel): void {
    if (channel !== this.#channel) return;
    const nowMs = this.#options.clock.monotonicMs();
    // Undefined: what filled the socket was a message.
    if (nowMs - (this.#fullAtMs ?? nowMs) >= SLOW_DRAIN_MS) this.#crowdedAtMs = nowMs;
    this.#fullAtMs = undefined;
    this.#step({ kind: "writable", isWritable: true });
  }

  #compresses(): boolean {
    const { compression, clock } = this.#options;
    if (compression !== "adaptive") return compression === "on";
    return clock.monotonicMs() - this.#crowdedAtMs < CROWDED_MS;
  }

  /** Only when it changed. */
  #sendState(): void {
    if (this.#channel === undefined) return;
    const state = this.#options.ringState();
    if (state === undefined) return;
    if (this.#stateSent !== undefined && isSameState(this.#stateSent, state)) return;
    this.#stateSent = state;
    this.#channel.sendJson(FrameType.source, state);
  }

  #onFrame(channel: FrameChannel, frame: Frame): void {
    if (channel !== this.#channel) return;
    switch (frame.type) {
      case FrameType.positions: {
        const { durable, applied } = parsePositions(frame.payload);
        this.#step({ kind: "positions", durable, applied });
        break;
      }
      case FrameType.asks:
        this.#step({ kind: "heard" });
        this.#options.onTarget(parseTargetState(parseJsonPayload(frame.payload)));
        break;
      case FrameType.heartbeat:
        this.#step({ kind: "heard" });
        break;
      default:
        throw new FrameError(`a target does not send frames of type ${frame.type}`);
    }
  }
}

/** Whatever the LSN: it rises all the time. */
function isSameState(one: SourceState, other: SourceState): boolean {
  return (
    one.recording === other.recording &&
    one.gaps === other.gaps &&
    one.engineGeneration === other.engineGeneration &&
    one.away === other.away
  );
}
