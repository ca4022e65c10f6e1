/** A target to which the source sends: the stream, and what the target says of its copy. */
import type { Clock } from "../../platform/clock.ts";
import { localWeekMinute } from "../../platform/local-time.ts";
import { systemNameService } from "../../platform/name-service.ts";
import type { SourceState, TargetCopy, TargetState } from "../../protocol/stream-messages.ts";
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
import { TargetQuestions, type TargetView } from "./target-view.ts";

export interface TargetLinkOptions {
  /** Among the job's `count` targets. */
  readonly index: number;
  readonly count: number;
  /** Numbers of those that get the ops from this one. */
  readonly onward: readonly number[];
  readonly target: JobTarget;
  readonly clock: Clock;
  readonly store: OpStore;
  readonly compression: Compression;
  readonly owners: "id" | "name";
  readonly connect: StreamSourceOptions["connect"];
  readonly ringState: () => SourceState;
  readonly onTarget: (state: TargetState) => void;
  /** It is connected anew, or not any more. */
  readonly onChange: () => void;
  readonly report: (level: "info" | "warning", message: string) => void;
}

export class TargetLink implements TargetView {
  readonly agent: string;
  readonly through: null = null;
  readonly stream: StreamSource;
  readonly questions: TargetQuestions;
  readonly lag = new LagTracker();
  readonly limit: ScheduledLimit;
  readonly #clock: Clock;
  #copy: TargetCopy | undefined;

  constructor(options: TargetLinkOptions) {
    const { clock } = options;
    this.agent = options.target.agent;
    this.limit = new ScheduledLimit(options.target, localWeekMinute);
    this.#clock = clock;
    const routing = AnswerRouting.atSource(options.index, options.count, options.onward);
    this.questions = new TargetQuestions(routing);
    let lastWhy = "";
    this.stream = new StreamSource({
      clock,
      store: options.store,
      compression: options.compression,
      owners: options.owners === "name" ? new OwnerTeller(systemNameService) : undefined,
      route: (records) => routing.route(records),
      connect: options.connect,
      ringState: options.ringState,
      onTarget: (state) => {
        if (state.copy !== undefined) this.#copy = state.copy;
        options.onTarget(state);
      },
      onChange: ({ connected, why }) => {
        if (!connected) this.#copy = undefined;
        options.onChange();
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

  get isConnected(): boolean {
    return this.stream.isConnected;
  }
  get lastError(): string | undefined {
    return this.stream.lastError;
  }
  get bytesSent(): number {
    return this.stream.bytesSent;
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
  get copy(): TargetCopy | undefined {
    return this.stream.isConnected ? this.#copy : undefined;
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
