/**
 * Decides what the target does with what one source sends: what to take, when to make it durable,
 * what to acknowledge, when to give a silent source up. Pure; the runner performs the effects.
 *
 * Guarantee: ops enter the log in LSN order, each once, whatever is sent again; nothing is
 * acknowledged as durable before the log said that it is.
 *
 * The runner performs all effects of a step, in their order, before it brings the next event. It
 * - numbers connections in the order in which their hellos came, so that a hello that was long on
 *   its way counts as new; it refuses one of another stream, which needs another receiver, and one
 *   of an older stream than the log's, whenever it comes;
 * - ends a connection for good when told to `close` it, and then need not say `closed`;
 * - has one sync under way at most, and answers it with `synced` or `refused`. When the log failed
 *   otherwise there is no event for it: it opens the log anew and makes a new receiver from that;
 * - brings a `tick` several times in a heartbeat, and while ops wait for a sync each 20 ms or
 *   sooner, since a pause ends with an event.
 */
import { assert, unreachable } from "../base/assert.ts";

export interface ReceiverOptions {
  /** Positions are sent at least so often, and when they change. */
  readonly heartbeatMs: number;
  /** Not more often, when only the applied position changes: under load it comes along. */
  readonly appliedMs: number;
  readonly silenceMs: number;
  /** After the log could not be written, for example because the disk is full. */
  readonly retryMs: number;
  /** Longest pause behind a sync: see {@link SYNC_PAUSE}. */
  readonly syncPauseMsMax: number;
  /** What waits for a sync, so much of it, is not made to wait for a pause. */
  readonly syncBytes: number;
}

export const RECEIVER_DEFAULTS: ReceiverOptions = {
  heartbeatMs: 1000,
  appliedMs: 30,
  silenceMs: 10_000,
  retryMs: 1000,
  syncPauseMsMax: 20,
  syncBytes: 1 << 20,
};

/**
 * Behind each sync of a few ops there is a pause, by so many times as long as it took: others use
 * the disk, too, and the ops of the pause share the next sync. What comes after a while of nothing
 * is synced at once.
 */
const SYNC_PAUSE = 4;

/** A connection, numbered by the runner: the newest one counts. */
export type ConnectionNumber = number;

export type ReceiverEvent =
  | { readonly kind: "tick" }
  /** The source has opened a connection and wants to send. */
  | { readonly kind: "opened"; readonly connection: ConnectionNumber }
  | { readonly kind: "closed"; readonly connection: ConnectionNumber }
  | {
      readonly kind: "ops";
      readonly connection: ConnectionNumber;
      readonly first: number;
      readonly last: number;
      readonly bytes: number;
    }
  | { readonly kind: "heard"; readonly connection: ConnectionNumber }
  /** The log is on the disk up to here. */
  | { readonly kind: "synced"; readonly durable: number }
  /** The log could not be written now; nothing was lost. */
  | { readonly kind: "refused" }
  | { readonly kind: "applied"; readonly lsn: number };

export type ReceiverEffect =
  /** Answer who has opened the connection: go on behind `durable`. */
  | {
      readonly kind: "welcome";
      readonly connection: ConnectionNumber;
      readonly durable: number;
      readonly applied: number;
    }
  /** Put the frame in hand at the end of the log. */
  | { readonly kind: "append" }
  /** Make the log durable; the runner answers with `synced` or `refused`. */
  | { readonly kind: "sync" }
  | {
      readonly kind: "positions";
      readonly connection: ConnectionNumber;
      readonly received: number;
      readonly durable: number;
      readonly applied: number;
    }
  | { readonly kind: "close"; readonly connection: ConnectionNumber; readonly reason: string };

const NONE = 0;

export class Receiver {
  readonly #options: ReceiverOptions;
  #received: number;
  #durable: number;
  #applied: number;
  #connection: ConnectionNumber = NONE;
  #isWelcomed = false;
  #isSyncing = false;
  #syncBegunMs = 0;
  /** No sync before; unless much waits for it, when it is only a pause. */
  #syncAtMs = 0;
  #isRefused = false;
  #bytesToSync = 0;
  #heardAtMs = 0;
  #toldAtMs = 0;
  #told = { received: 0, durable: 0, applied: 0 };
  #duplicates = 0;

  /** `durable`: the last LSN of the log as it was found. */
  constructor(durable: number, applied: number, options: ReceiverOptions = RECEIVER_DEFAULTS) {
    this.#options = options;
    this.#received = durable;
    this.#durable = durable;
    this.#applied = applied;
  }

  get received(): number {
    return this.#received;
  }
  get durable(): number {
    return this.#durable;
  }
  /** When the source last opened a connection or said anything on it. */
  get heardAtMs(): number {
    return this.#heardAtMs;
  }
  get applied(): number {
    return this.#applied;
  }
  get isConnected(): boolean {
    return this.#connection !== NONE && this.#isWelcomed;
  }
  /** Ops that were sent again and not taken. */
  get duplicates(): number {
    return this.#duplicates;
  }

  step(event: ReceiverEvent, nowMs: number): ReceiverEffect[] {
    switch (event.kind) {
      case "tick":
        break;
      case "opened":
        return this.#opened(event.connection, nowMs);
      case "closed":
        if (event.connection === this.#connection) this.#forgetConnection();
        break;
      case "ops":
        return this.#ops(event, nowMs);
      case "heard":
        if (event.connection === this.#connection) this.#heardAtMs = nowMs;
        break;
      case "synced":
        this.#isSyncing = false;
        this.#isRefused = false;
        this.#syncAtMs = nowMs + this.#pauseMs(nowMs - this.#syncBegunMs);
        assert(event.durable <= this.#received, () => `synced ${event.durable} is not received`);
        this.#durable = Math.max(this.#durable, event.durable);
        break;
      case "refused":
        this.#isSyncing = false;
        this.#isRefused = true;
        this.#syncAtMs = nowMs + this.#options.retryMs;
        break;
      case "applied":
        this.#applied = Math.max(this.#applied, event.lsn);
        break;
      default:
        unreachable(event);
    }
    return this.#decide(nowMs);
  }

  /** A source has one connection: what an earlier one still has under way is not looked at. */
  #opened(connection: ConnectionNumber, nowMs: number): ReceiverEffect[] {
    const effects: ReceiverEffect[] = [];
    if (this.#connection !== NONE) {
      const reason = "the source has opened another connection";
      effects.push({ kind: "close", connection: this.#connection, reason });
    }
    this.#connection = connection;
    this.#isWelcomed = false;
    this.#heardAtMs = nowMs;
    return [...effects, ...this.#decide(nowMs)];
  }

  #forgetConnection(): void {
    this.#connection = NONE;
    this.#isWelcomed = false;
  }

  #ops(
    event: { connection: ConnectionNumber; first: number; last: number; bytes: number },
    nowMs: number,
  ): ReceiverEffect[] {
    const { connection, first, last, bytes } = event;
    if (connection !== this.#connection || !this.#isWelcomed) return [];
    this.#heardAtMs = nowMs;
    if (last <= this.#received) {
      this.#duplicates += last - first + 1;
      return this.#decide(nowMs);
    }
    if (first !== this.#received + 1) {
      const reason = `ops ${first} to ${last} came behind ${this.#received}`;
      this.#forgetConnection();
      return [{ kind: "close", connection, reason }];
    }
    this.#received = last;
    this.#bytesToSync += bytes;
    return [{ kind: "append" }, ...this.#decide(nowMs)];
  }

  #decide(nowMs: number): ReceiverEffect[] {
    const effects: ReceiverEffect[] = [];
    if (this.#isSyncDue(nowMs)) {
      this.#isSyncing = true;
      this.#syncBegunMs = nowMs;
      this.#bytesToSync = 0;
      effects.push({ kind: "sync" });
    }
    const connection = this.#connection;
    if (connection === NONE) return effects;
    const { silenceMs } = this.#options;
    if (nowMs - this.#heardAtMs > silenceMs) {
      this.#forgetConnection();
      const reason = `nothing heard for ${silenceMs / 1000} s`;
      effects.push({ kind: "close", connection, reason });
    } else if (!this.#isWelcomed) effects.push(...this.#welcome(connection, nowMs));
    else if (this.#isNews(nowMs)) {
      effects.push({ kind: "positions", connection, ...this.#tell(nowMs) });
    }
    return effects;
  }

  #isSyncDue(nowMs: number): boolean {
    if (this.#received === this.#durable || this.#isSyncing) return false;
    if (nowMs >= this.#syncAtMs) return true;
    return !this.#isRefused && this.#bytesToSync >= this.#options.syncBytes;
  }

  #pauseMs(tookMs: number): number {
    return Math.min(tookMs * SYNC_PAUSE, this.#options.syncPauseMsMax);
  }

  /** What an earlier connection brought is made durable first: the source goes on behind it. */
  #welcome(connection: ConnectionNumber, nowMs: number): ReceiverEffect[] {
    if (this.#durable < this.#received) return [];
    this.#isWelcomed = true;
    const { durable, applied } = this.#tell(nowMs);
    return [{ kind: "welcome", connection, durable, applied }];
  }

  #isNews(nowMs: number): boolean {
    const sinceMs = nowMs - this.#toldAtMs;
    if (this.#durable !== this.#told.durable) return true;
    if (this.#applied !== this.#told.applied && sinceMs >= this.#options.appliedMs) return true;
    return sinceMs >= this.#options.heartbeatMs;
  }

  #tell(nowMs: number): { received: number; durable: number; applied: number } {
    this.#toldAtMs = nowMs;
    this.#told = { received: this.#received, durable: this.#durable, applied: this.#applied };
    return this.#told;
  }
}
