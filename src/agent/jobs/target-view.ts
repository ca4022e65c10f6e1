/** What a source knows of one of its targets, whichever way the ops go there. */
import { FrameError } from "../../protocol/frame.ts";
import type { AskTuple, TargetCopy, TargetState } from "../../protocol/stream-messages.ts";
import type { AnswerRouting } from "../../replication/answer-routing.ts";
import type { LimitState, ScheduledLimit } from "../../replication/scheduled-limit.ts";
import type { LagTracker } from "../lag-tracker.ts";

export interface TargetView {
  readonly agent: string;
  /** Id of the target that sends it the ops; null: the source does. */
  readonly through: string | null;
  readonly isConnected: boolean;
  /** Why it is not connected, in words. */
  readonly lastError: string | undefined;
  /** Ops up to here are on its disk; 0: not known yet. */
  readonly durable: number;
  readonly applied: number;
  readonly bytesSent: number;
  /** What the target last said; undefined while it is away. */
  readonly copy: TargetCopy | undefined;
  readonly lag: LagTracker;
  readonly limit: ScheduledLimit;
  readonly limitNow: LimitState;
  readonly questions: TargetQuestions;
}

/** A target has fewer than 1,000 questions open at a time. */
const QUESTIONS_MAX = 8192;

/** Of a target's applier to our mirror thread, not given to it yet. */
export class TargetQuestions {
  readonly #routing: AnswerRouting;
  readonly #waiting: AskTuple[] = [];

  /** `routing`: it gives the numbers that tell whose a question is. */
  constructor(routing: AnswerRouting) {
    this.#routing = routing;
  }

  /** @throws {FrameError} when the target asks too much */
  hear({ recall, asks }: TargetState): void {
    if (recall === true) this.#waiting.length = 0;
    if (asks === undefined) return;
    if (this.#waiting.length > QUESTIONS_MAX) throw new FrameError("the target asks too much");
    this.#waiting.push(...asks);
  }

  /** The oldest, under the number that the mirror thread is to get. */
  peek(): AskTuple | undefined {
    const [oldest] = this.#waiting;
    if (oldest === undefined) return undefined;
    const [number, ...what] = oldest;
    return [this.#routing.tag(number), ...what];
  }

  shift(): void {
    this.#waiting.shift();
  }
}
