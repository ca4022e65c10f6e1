/** All the targets to which a target sends a job's ops on, in one life of its ring. */
import type { SegmentLog } from "../../journal/segment-log.ts";
import type { Clock } from "../../platform/clock.ts";
import type { Onward, SourceState, StreamHello } from "../../protocol/stream-messages.ts";
import type { StreamTarget } from "../../replication/stream-target.ts";
import type { Report } from "../agent-log.ts";
import { type ConnectOnward, OnwardLink } from "./onward-link.ts";

/**
 * Of the log, what is kept for targets further on that are behind. One that needs more compares: it
 * must not fill the disk that this server's own copy needs.
 */
const LOG_BYTES_MAX = 2 ** 37;
const FREE_BYTES_MIN = 2 ** 32;
/** So much is kept although the disk has less room than that, until it has almost none. */
const LOG_BYTES_MIN = 2 ** 30;
const FREE_BYTES_LEAST = 2 ** 28;

export interface OnwardLinksParts {
  readonly clock: Clock;
  readonly log: SegmentLog;
  /** Null: nothing is sent on. */
  readonly onward: Onward | null;
  /** From the source. */
  readonly stream: Pick<StreamTarget, "sourceSaid" | "tell">;
  readonly connect: ConnectOnward;
  readonly hello: () => StreamHello;
  readonly onPromoted: (why: string) => void;
  readonly report: Report;
}

export class OnwardLinks {
  #all: readonly OnwardLink[];
  readonly #log: SegmentLog;
  readonly #stream: OnwardLinksParts["stream"];
  /** Why the source is away; undefined while it is connected. */
  #awayWhy: string | undefined = "it was not heard since the agent was started";

  constructor(parts: OnwardLinksParts) {
    const { clock, log, onward, stream, connect, hello, onPromoted, report } = parts;
    this.#log = log;
    this.#stream = stream;
    this.#all = (onward?.targets ?? []).map((target) => {
      const { agent } = target;
      return new OnwardLink({
        ...{ clock, log, target, connect, hello, onPromoted },
        ringState: () => this.#sourceState(),
        tell: (state) => stream.tell(state),
        report: (level, message) => report(level, message, { agent }),
      });
    });
  }

  get all(): readonly OnwardLink[] {
    return this.#all;
  }

  /** Nothing is sent there any more. */
  async drop(agent: string): Promise<void> {
    const dropped = this.#all.filter((link) => link.agent === agent);
    this.#all = this.#all.filter((link) => link.agent !== agent);
    await Promise.all(dropped.map((link) => link.stop()));
  }

  #sourceState(): SourceState | undefined {
    const said = this.#stream.sourceSaid;
    if (said === undefined || this.#awayWhy === undefined) return said;
    return { ...said, away: this.#awayWhy };
  }

  sourceChanged(change: { readonly connected: boolean; readonly why: string }): void {
    this.#awayWhy = change.connected ? undefined : change.why;
    if (change.connected) for (const link of this.all) link.sourceConnected();
  }

  /** Who gets the ops does not change in a job's life. */
  setLimits(onward: Onward | null): void {
    for (const target of onward?.targets ?? []) {
      this.all.find(({ agent }) => agent === target.agent)?.setLimit(target);
    }
  }

  get isCopying(): boolean {
    return this.all.some((link) => link.isCopying);
  }

  /** Called often. */
  pump(): void {
    for (const link of this.all) link.pump();
  }

  /** Up to which op the log is of no use to them, or is not kept for them. @throws LOG_IO */
  async doneLsn(): Promise<number> {
    const { bytes } = this.#log;
    if (this.all.length === 0 || bytes > LOG_BYTES_MAX) return Number.POSITIVE_INFINITY;
    const free = await this.#log.freeBytes();
    if (free < (bytes > LOG_BYTES_MIN ? FREE_BYTES_MIN : FREE_BYTES_LEAST)) {
      return Number.POSITIVE_INFINITY;
    }
    return Math.min(...this.all.map(({ durable }) => durable));
  }

  async stop(): Promise<void> {
    await Promise.all(this.all.map((link) => link.stop()));
  }
}
