/**
 * Decides what the source sends to one target, and when: connecting, resuming, how much may be under
 * way, heartbeats, giving up a peer that says nothing. Pure; the runner performs the effects.
 *
 * Guarantee: on each connection ops go in LSN order without a gap, starting behind the last one that
 * the target has made durable. What was sent and not acknowledged when a connection ended is sent
 * again; the receiver, which knows what it has, makes that exactly once.
 */
import { assert, unreachable } from "../base/assert.ts";

export interface SenderOptions {
  /** Bytes of ops that may be sent and not yet be durable at the target. */
  readonly windowBytes: number;
  readonly frameBytes: number;
  /** Something is sent at least so often. */
  readonly heartbeatMs: number;
  /** A peer that is silent for so long is given up. */
  readonly silenceMs: number;
  readonly backoffMsMin: number;
  readonly backoffMsMax: number;
}

export const SENDER_DEFAULTS: SenderOptions = {
  windowBytes: 64 << 20,
  frameBytes: 1 << 20,
  heartbeatMs: 1000,
  silenceMs: 10_000,
  backoffMsMin: 100,
  backoffMsMax: 10_000,
};

export type SenderEvent =
  /** Time has passed. */
  | { readonly kind: "tick" }
  /** Ops up to this LSN can be read. */
  | { readonly kind: "available"; readonly lsn: number }
  /** A connection was made, and the target said how far it is durable. */
  | { readonly kind: "connected"; readonly durable: number }
  | { readonly kind: "disconnected" }
  /** A frame was taken by the socket: ops up to `last`, so many bytes. */
  | { readonly kind: "sent"; readonly last: number; readonly bytes: number }
  /** The socket takes more, or it does not. */
  | { readonly kind: "writable"; readonly isWritable: boolean }
  /** The target's positions. */
  | { readonly kind: "positions"; readonly durable: number; readonly applied: number }
  /** Any other sign of life. */
  | { readonly kind: "heard" }
  /** Bytes that the bandwidth limit allows by now; `Infinity` without one. */
  | { readonly kind: "allowance"; readonly bytes: number };

export type SenderEffect =
  | { readonly kind: "connect" }
  /** Send one frame of ops from this LSN on. The runner answers with `sent`. */
  | { readonly kind: "send"; readonly from: number; readonly bytesMax: number }
  | { readonly kind: "heartbeat" }
  | { readonly kind: "close"; readonly reason: string };

type Phase = "apart" | "connecting" | "streaming";

interface InFlight {
  readonly last: number;
  readonly bytes: number;
}

export class Sender {
  readonly #options: SenderOptions;
  #phase: Phase = "apart";
  #available: number;
  #next: number;
  #durable: number;
  #applied: number;
  readonly #inFlight: InFlight[] = [];
  #bytesInFlight = 0;
  #allowance = Number.POSITIVE_INFINITY;
  #isWritable = true;
  #isSending = false;
  #backoffMs: number;
  #connectAtMs = 0;
  #heardAtMs = 0;
  #spokeAtMs = 0;

  /** `durable`: the last LSN that the target is known to have; what is below need not be kept. */
  constructor(durable: number, options: SenderOptions = SENDER_DEFAULTS) {
    this.#options = options;
    this.#available = durable;
    this.#next = durable + 1;
    this.#durable = durable;
    this.#applied = durable;
    this.#backoffMs = options.backoffMsMin;
  }

  get phase(): Phase {
    return this.#phase;
  }
  /** Ops up to here are on the target's disk: the source may forget them. */
  get durable(): number {
    return this.#durable;
  }
  get applied(): number {
    return this.#applied;
  }
  get bytesInFlight(): number {
    return this.#bytesInFlight;
  }

  step(event: SenderEvent, nowMs: number): SenderEffect[] {
    switch (event.kind) {
      case "tick":
        break;
      case "available":
        this.#available = Math.max(this.#available, event.lsn);
        break;
      case "connected":
        return this.#connected(event.durable, nowMs);
      case "disconnected":
        return this.#disconnected(nowMs);
      case "sent":
        this.#sent(event, nowMs);
        break;
      case "writable":
        this.#isWritable = event.isWritable;
        break;
      case "positions":
        this.#heardAtMs = nowMs;
        this.#acknowledged(event.durable, event.applied);
        break;
      case "heard":
        this.#heardAtMs = nowMs;
        break;
      case "allowance":
        this.#allowance = event.bytes;
        break;
      default:
        unreachable(event);
    }
    return this.#decide(nowMs);
  }

  #connected(durable: number, nowMs: number): SenderEffect[] {
    // A target that forgot what it had acknowledged cannot go on; one that is ahead is of another
    // stream. The runner settles both before it says "connected".
    assert(durable >= this.#durable, () => `the target went back to ${durable}`);
    this.#phase = "streaming";
    this.#isSending = false;
    this.#isWritable = true;
    this.#inFlight.length = 0;
    this.#bytesInFlight = 0;
    this.#durable = durable;
    this.#next = durable + 1;
    this.#available = Math.max(this.#available, durable);
    this.#backoffMs = this.#options.backoffMsMin;
    this.#heardAtMs = nowMs;
    this.#spokeAtMs = nowMs;
    return this.#decide(nowMs);
  }

  #disconnected(nowMs: number): SenderEffect[] {
    this.#phase = "apart";
    this.#isSending = false;
    this.#connectAtMs = nowMs + this.#backoffMs;
    this.#backoffMs = Math.min(this.#backoffMs * 2, this.#options.backoffMsMax);
    return [];
  }

  #sent({ last, bytes }: InFlight, nowMs: number): void {
    this.#isSending = false;
    this.#spokeAtMs = nowMs;
    if (last < this.#next) return; // nothing could be read yet
    this.#inFlight.push({ last, bytes });
    this.#bytesInFlight += bytes;
    this.#allowance -= bytes;
    this.#next = last + 1;
  }

  #acknowledged(durable: number, applied: number): void {
    // Answers of an earlier connection may still arrive; positions only grow.
    if (durable > this.#durable) this.#durable = durable;
    if (applied > this.#applied) this.#applied = applied;
    while (this.#inFlight.length > 0 && (this.#inFlight[0] as InFlight).last <= this.#durable) {
      this.#bytesInFlight -= (this.#inFlight.shift() as InFlight).bytes;
    }
  }

  #decide(nowMs: number): SenderEffect[] {
    const { silenceMs, heartbeatMs } = this.#options;
    switch (this.#phase) {
      case "apart":
        if (nowMs < this.#connectAtMs) return [];
        this.#phase = "connecting";
        return [{ kind: "connect" }];
      case "connecting":
        return [];
      case "streaming":
        if (nowMs - this.#heardAtMs > silenceMs) {
          this.#phase = "connecting"; // until the runner says "disconnected"
          return [{ kind: "close", reason: `nothing heard for ${silenceMs / 1000} s` }];
        }
        if (this.#maySend()) return [this.#send()];
        if (nowMs - this.#spokeAtMs < heartbeatMs || this.#isSending) return [];
        this.#spokeAtMs = nowMs;
        return [{ kind: "heartbeat" }];
    }
  }

  #maySend(): boolean {
    if (this.#isSending || !this.#isWritable || this.#next > this.#available) return false;
    return this.#bytesInFlight < this.#options.windowBytes && this.#allowance > 0;
  }

  #send(): SenderEffect {
    this.#isSending = true;
    const { frameBytes } = this.#options;
    const bytesMax = Math.min(frameBytes, Math.max(1, this.#allowance));
    return { kind: "send", from: this.#next, bytesMax };
  }
}
