/**
 * At a target that sends a job's ops on: the stream to one target behind it. That one's questions
 * go to the source, and what the source says of its ring comes back, through this server; the ops
 * come from this server's log, and only what is durable of them.
 */
import type { SegmentLog } from "../../journal/segment-log.ts";
import type { Clock } from "../../platform/clock.ts";
import { localWeekMinute } from "../../platform/local-time.ts";
import type {
  OnwardLinkState,
  OnwardTarget,
  SourceState,
  StreamHello,
  TargetCopy,
  TargetState,
} from "../../protocol/stream-messages.ts";
import { AnswerRouting } from "../../replication/answer-routing.ts";
import { DurableOps } from "../../replication/durable-ops.ts";
import { type LimitSettings, ScheduledLimit } from "../../replication/scheduled-limit.ts";
import { StreamSource, type StreamSourceOptions } from "../../replication/stream-source.ts";
import { PeerRefusedError } from "../peer-network.ts";
import { isCopying } from "../pace.ts";

/** How the link is, is told not more often. */
const TELL_MS = 20;

/** Says hello to a target further on. */
export type ConnectOnward = (
  target: OnwardTarget,
  hello: StreamHello,
  signal: AbortSignal,
) => ReturnType<StreamSourceOptions["connect"]>;

export interface OnwardLinkOptions {
  readonly clock: Clock;
  readonly log: SegmentLog;
  readonly target: OnwardTarget;
  readonly connect: ConnectOnward;
  readonly hello: () => StreamHello;
  /** The replica there was promoted, in words. */
  readonly onPromoted: (why: string) => void;
  readonly ringState: () => SourceState | undefined;
  /** Tells the source, if it is connected. */
  readonly tell: (state: TargetState) => void;
  readonly report: (level: "info" | "warning", message: string) => void;
}

export class OnwardLink {
  readonly agent: string;
  readonly #options: OnwardLinkOptions;
  readonly #stream: StreamSource;
  readonly #limit: ScheduledLimit;
  #promoted: string | null = null;
  /** The log is of no use up to here. */
  #damagedTo = 0;
  #lastWhy = "";
  /** What the target last said of its copy; undefined while it is away. */
  #copy: TargetCopy | undefined;
  #told = "";
  #toldAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: OnwardLinkOptions) {
    const { clock, log, target, ringState } = options;
    this.agent = target.agent;
    this.#options = options;
    this.#limit = new ScheduledLimit(target, localWeekMinute);
    this.#stream = new StreamSource({
      clock,
      store: new DurableOps(log, AnswerRouting.atTarget(target.index), () => {
        this.#damagedTo = log.durableLsn;
        options.report("warning", "the log cannot be read: it gets what follows, and compares");
      }),
      compression: "adaptive",
      owners: undefined,
      route: (records) => records,
      connect: (signal) => this.#connect(signal),
      ringState,
      onTarget: (state) => this.#onTarget(state),
      onChange: ({ connected, why }) => this.#onChange(connected, why),
      allowance: () => {
        return this.#limit.allowance(clock.monotonicMs(), clock.wallMs(), this.#stream.bytesSent);
      },
    });
  }

  get isConnected(): boolean {
    return this.#stream.isConnected;
  }
  /** Ops up to here are on the disk of the target behind this one; 0: not known yet. */
  get durable(): number {
    return this.#stream.durable;
  }
  get applied(): number {
    return this.#stream.applied;
  }
  /** Why there is no connection, in words. */
  get lastError(): string | undefined {
    return this.#stream.lastError;
  }
  /** The replica there was promoted, in words; null: no. */
  get promoted(): string | null {
    return this.#promoted;
  }

  setLimit(settings: LimitSettings): void {
    this.#limit.change(settings);
  }

  /** Called often. */
  pump(): void {
    this.#stream.pump(this.#options.log.durableLsn);
    this.#tellLink();
  }

  /**
   * The way to the source is another one. What was asked through the old one may be lost, so that
   * everything has to be asked again, which a target does when it is connected anew.
   */
  sourceConnected(): void {
    this.#told = "";
    this.#stream.reconnect("the way to the source is another one");
  }

  stop(): Promise<void> {
    return this.#stream.stop();
  }

  async #connect(signal: AbortSignal) {
    const { connect, target, hello, onPromoted } = this.#options;
    try {
      const said = hello();
      const firstLsn = Math.max(said.firstLsn, this.#damagedTo + 1);
      return await connect(target, { ...said, firstLsn }, signal);
    } catch (error) {
      if (error instanceof PeerRefusedError && error.peerCode === "EPOCH_OLD") {
        this.#promoted = error.message;
        onPromoted(error.message);
      }
      throw error;
    }
  }

  get isCopying(): boolean {
    return isCopying(this.#copy);
  }

  #onTarget({ copy, ...others }: TargetState): void {
    if (copy !== undefined) this.#copy = copy;
    if (Object.keys(others).length === 0) return;
    this.#options.tell({ onward: { agent: this.agent, state: others } });
  }

  #onChange(isConnected: boolean, why: string): void {
    if (!isConnected) this.#copy = undefined;
    // A target that stays away says the same at each try.
    if (!isConnected && why === this.#lastWhy) return;
    this.#lastWhy = why;
    const level = isConnected ? "info" : "warning";
    this.#options.report(level, isConnected ? "connected" : `apart: ${why}`);
  }

  #tellLink(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#toldAtMs < TELL_MS) return;
    const { isConnected, durable, applied, bytesSent, lastError } = this.#stream;
    const link: OnwardLinkState = {
      isConnected,
      why: isConnected ? null : (lastError ?? null),
      durable,
      applied,
      bytesSent,
      promoted: this.#promoted,
    };
    const text = JSON.stringify([link, this.#copy]);
    if (text === this.#told) return;
    this.#told = text;
    this.#toldAtMs = nowMs;
    const state = this.#copy === undefined ? {} : { state: { copy: this.#copy } };
    this.#options.tell({ onward: { agent: this.agent, link, ...state } });
  }
}
