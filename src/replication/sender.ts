/**
 * Decides what the source sends to one target, and when: connecting, resuming, how much may be
 * under way, heartbeats, giving up a peer that says nothing. Pure; the runner performs the effects.
 *
 * Guarantee: on each connection ops go in LSN order without a gap, starting behind the last one
 * that the target has made durable. What was sent and not acknowledged when a connection ended is
 * sent again; the receiver, which knows what it has, makes that exactly once.
 *
 * The runner performs all effects of a step before it brings the next event. It also
 * - answers each `connect`, in bounded time, with `connected` or `disconnected`: connecting and the
 *   handshake have a time limit, since both may hang for ever;
 * - says `connected` only when the target goes on within what is kept: of the same stream, not
 *   behind the first op that can be read, not ahead of the last one taken;
 * - reads at least one op for each `send`, however large it is, and says `sent` when it gave the
 *   frame to the socket; when that filled the socket, it says so first (`writable`);
 * - ends a connection for good when told to `close` it; `disconnected` is then not needed;
 * - brings a `tick` several times in a heartbeat, and `available` after new ops;
 * - brings nothing of an earlier connection: no `sent` of a read that ended late, no positions.
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
  /** The target has said welcome, and how far it is. */
  | { readonly kind: "connected"; readonly durable: number; readonly applied: number }
  /** There is no connection, or no longer. */
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

export type SenderPhase = "apart" | "connecting" | "streaming";

interface Positions {
  readonly durable: number;
  readonly applied: number;
}

interface InFlight {
  readonly last: number;
  readonly bytes: number;
}

export class Sender {
  readonly #options: SenderOptions;
  #phase: SenderPhase = "apart";
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

  get phase(): SenderPhase {
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
        this.#connected(event, nowMs);
        break;
      case "disconnected":
        if (this.#phase !== "apart") this.#part(nowMs);
        return [];
      case "sent":
        this.#sent(event, nowMs);
        break;
      case "writable":
        this.#isWritable = event.isWritable;
        break;
      case "positions":
        this.#heardAtMs = nowMs;
        if (event.durable >= this.#next) {
          return this.#close(`op ${event.durable} is acknowledged and was not sent`, nowMs);
        }
        this.#acknowledged(event);
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

  #connected({ durable, applied }: Positions, nowMs: number): void {
    assert(this.#phase === "connecting", "one answer to each connect");
    // A target that forgot what it had acknowledged cannot go on; one that is ahead is of another
    // stream. The runner settles both before it says "connected".
    assert(durable >= this.#durable, () => `the target went back to ${durable}`);
    this.#phase = "streaming";
    this.#isSending = false;
    this.#isWritable = true;
    this.#inFlight.length = 0;
    this.#bytesInFlight = 0;
    this.#durable = durable;
    this.#applied = applied; // lower than before, perhaps, when its machine had lost power
    this.#next = durable + 1;
    this.#available = Math.max(this.#available, durable);
    this.#backoffMs = this.#options.backoffMsMin;
    this.#heardAtMs = nowMs;
    this.#spokeAtMs = nowMs;
  }

  #part(nowMs: number): void {
    this.#phase = "apart";
    this.#connectAtMs = nowMs + this.#backoffMs;
    this.#backoffMs = Math.min(this.#backoffMs * 2, this.#options.backoffMsMax);
  }

  #close(reason: string, nowMs: number): SenderEffect[] {
    this.#part(nowMs);
    return [{ kind: "close", reason }];
  }

  #sent({ last, bytes }: InFlight, nowMs: number): void {
    this.#isSending = false;
    if (last < this.#next) {
      this.#available = this.#next - 1; // nothing could be read: ask when there is news
      return;
    }
    this.#spokeAtMs = nowMs;
    this.#inFlight.push({ last, bytes });
    this.#bytesInFlight += bytes;
    this.#allowance -= bytes;
    this.#next = last + 1;
  }

  #acknowledged({ durable, applied }: Positions): void {
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
          return this.#close(`nothing heard for ${silenceMs / 1000} s`, nowMs);
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
