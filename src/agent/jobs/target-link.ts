/** One target of a job, as its source sees it: the stream, and what the target says of its copy. */
import type { Clock } from "../../platform/clock.ts";
import { localWeekMinute } from "../../platform/local-time.ts";
import { systemNameService } from "../../platform/name-service.ts";
import type {
  AskTuple,
  SourceState,
  TargetCopy,
  TargetState,
} from "../../protocol/stream-messages.ts";
import { AnswerRouting } from "../../replication/answer-routing.ts";
import type { OpStore } from "../../replication/op-store.ts";
import { OwnerTeller } from "../../replication/owner-teller.ts";
import { type LimitState, ScheduledLimit } from "../../replication/scheduled-limit.ts";
import {
  type Compression,
  StreamSource,
  type StreamSourceOptions,
} from "../../replication/stream-source.ts";
import { LagTracker } from "../lag-tracker.ts";
import type { JobTarget } from "./target-settings.ts";

export interface TargetLinkOptions {
  readonly index: number;
  readonly count: number;
  readonly target: JobTarget;
  readonly clock: Clock;
  readonly store: OpStore;
  readonly compression: Compression;
  readonly owners: "id" | "name";
  readonly connect: StreamSourceOptions["connect"];
  readonly ringState: () => SourceState;
  readonly onTarget: (state: TargetState) => void;
  readonly report: (level: "info" | "warning", message: string) => void;
}

export class TargetLink {
  readonly agent: string;
  readonly stream: StreamSource;
  /** Of the target's applier to our mirror thread, not given yet. */
  readonly questions: AskTuple[] = [];
  readonly lag = new LagTracker();
  readonly limit: ScheduledLimit;
  readonly #clock: Clock;
  readonly #routing: AnswerRouting;
  #copy: TargetCopy | undefined;

  constructor(options: TargetLinkOptions) {
    const { clock } = options;
    this.agent = options.target.agent;
    this.limit = new ScheduledLimit(options.target, localWeekMinute);
    this.#clock = clock;
    this.#routing = new AnswerRouting(options.index, options.count);
    let lastWhy = "";
    this.stream = new StreamSource({
      clock,
      store: options.store,
      compression: options.compression,
      owners: options.owners === "name" ? new OwnerTeller(systemNameService) : undefined,
      route: (records) => this.#routing.route(records),
      connect: options.connect,
      ringState: options.ringState,
      onTarget: (state) => {
        if (state.copy !== undefined) this.#copy = state.copy;
        options.onTarget(state);
      },
      onChange: ({ connected, why }) => {
        if (!connected) this.#copy = undefined;
        // A target that stays away says the same at each try.
        if (!connected && why === lastWhy) return;
        lastWhy = why;
        options.report(connected ? "info" : "warning", connected ? "connected" : `apart: ${why}`);
      },
      allowance: () => {
        return this.limit.allowance(clock.monotonicMs(), clock.wallMs(), this.stream.bytesSent);
      },
    });
  }

  get durable(): number {
    return this.stream.durable;
  }
  get applied(): number {
    return this.stream.applied;
  }
  get limitNow(): LimitState {
    return this.limit.state(this.#clock.wallMs());
  }
  /** What the target last said; undefined while it is away. */
  get copy(): TargetCopy | undefined {
    return this.stream.isConnected ? this.#copy : undefined;
  }

  /** The number under which the mirror thread gets this target's question. */
  tag(number: number): number {
    return this.#routing.tag(number);
  }

  /** `headLsn`: the last that was given out; beyond `availableLsn` it cannot be sent yet. */
  pump(availableLsn: number, headLsn: number): void {
    this.lag.observe(this.#clock.monotonicMs(), headLsn, this.stream.applied);
    this.stream.pump(availableLsn);
  }

  stop(): Promise<void> {
    return this.stream.stop();
  }
}
