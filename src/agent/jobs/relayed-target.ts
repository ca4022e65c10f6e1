/**
 * At the source: a target that gets the ops from another target. All that is known of it has come
 * through that one.
 */
import type { Clock } from "../../platform/clock.ts";
import { localWeekMinute } from "../../platform/local-time.ts";
import type { OnwardLinkState, OnwardState, TargetCopy } from "../../protocol/stream-messages.ts";
import { AnswerRouting } from "../../replication/answer-routing.ts";
import { type LimitState, ScheduledLimit } from "../../replication/scheduled-limit.ts";
import { LagTracker } from "../lag-tracker.ts";
import type { TargetLink } from "./target-link.ts";
import type { JobTarget } from "./target-settings.ts";
import { TargetQuestions, type TargetView } from "./target-view.ts";

const UNKNOWN: OnwardLinkState = {
  isConnected: false,
  why: null,
  durable: 0,
  applied: 0,
  bytesSent: 0,
  promoted: null,
};

export class RelayedTarget implements TargetView {
  readonly agent: string;
  readonly through: string;
  readonly questions: TargetQuestions;
  readonly lag = new LagTracker();
  readonly limit: ScheduledLimit;
  readonly #clock: Clock;
  /** The way to it. */
  readonly #way: TargetLink;
  #link = UNKNOWN;
  #copy: TargetCopy | undefined;

  /** `index`: among the job's targets. */
  constructor(index: number, target: JobTarget, way: TargetLink, clock: Clock) {
    this.agent = target.agent;
    this.through = way.agent;
    this.questions = new TargetQuestions(AnswerRouting.atTarget(index));
    this.limit = new ScheduledLimit(target, localWeekMinute);
    this.#way = way;
    this.#clock = clock;
  }

  get isConnected(): boolean {
    return this.#way.isConnected && this.#link.isConnected;
  }
  get lastError(): string | undefined {
    if (!this.#way.isConnected) return "who sends it the changes is not connected";
    return this.#link.why ?? undefined;
  }
  get durable(): number {
    return this.#link.durable;
  }
  get applied(): number {
    return this.#link.applied;
  }
  get bytesSent(): number {
    return this.#link.bytesSent;
  }
  get copy(): TargetCopy | undefined {
    return this.isConnected ? this.#copy : undefined;
  }
  get limitNow(): LimitState {
    return this.limit.state(this.#clock.wallMs());
  }

  hear({ link, state }: OnwardState): void {
    if (link !== undefined) this.#link = link;
    if (link?.isConnected === false) this.#copy = undefined;
    if (state?.copy !== undefined) this.#copy = state.copy;
  }

  /** The way to it is gone, or is another one: what was said through the old one may be old. */
  wayChanged(): void {
    this.#link = { ...this.#link, isConnected: false, why: null };
    this.#copy = undefined;
  }

  observeLag(headLsn: number): void {
    this.lag.observe(this.#clock.monotonicMs(), headLsn, this.applied);
  }
}
