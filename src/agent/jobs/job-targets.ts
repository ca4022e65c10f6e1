/**
 * The targets of a job, as its source works with them: those that it sends to, and those behind
 * them, of which it hears through the others. All ask the source's one mirror thread.
 */
import { assert } from "../../base/assert.ts";
import type { CommandQueue } from "../../journal/command-queue.ts";
import type { Clock } from "../../platform/clock.ts";
import { FrameError } from "../../protocol/frame.ts";
import type {
  Onward,
  OnwardTarget,
  SourceState,
  TargetState,
} from "../../protocol/stream-messages.ts";
import type { OpStore } from "../../replication/op-store.ts";
import type { StreamSourceOptions } from "../../replication/stream-source.ts";
import { isCopying } from "../pace.ts";
import { RelayedTarget } from "./relayed-target.ts";
import type { SourceRecord } from "./source-record.ts";
import { TargetLink } from "./target-link.ts";
import type { JobTarget } from "./target-settings.ts";
import type { TargetView } from "./target-view.ts";

export interface JobTargetsOptions {
  readonly record: SourceRecord;
  readonly clock: Clock;
  readonly store: OpStore;
  /** Says hello to a target; `onward`: those to which it is to send the ops on. */
  readonly connect: (
    agent: string,
    onward: Onward | null,
    signal: AbortSignal,
  ) => ReturnType<StreamSourceOptions["connect"]>;
  readonly ringState: () => SourceState;
  /** A target has begun a pass for so many gaps. */
  readonly onRecord: (gaps: number) => void;
  /** A target behind another was promoted. */
  readonly onPromoted: (why: string) => void;
  readonly report: (level: "info" | "warning", message: string, agent: string) => void;
}

export class JobTargets {
  readonly #options: JobTargetsOptions;
  readonly #links: readonly TargetLink[];
  readonly #relayed: readonly RelayedTarget[];
  /** In the order of the job's record. */
  readonly all: readonly TargetView[];
  /** As the record has them: limits change. */
  #settings: readonly JobTarget[];
  #turn = 0;

  constructor(options: JobTargetsOptions) {
    this.#options = options;
    this.#settings = options.record.targets;
    const links = new Map<string, TargetLink>();
    for (const [index, target] of this.#settings.entries()) {
      if (target.through === null) links.set(target.agent, this.#newLink(target, index));
    }
    this.all = this.#settings.map((target, index) => {
      const link = links.get(target.through ?? target.agent);
      assert(link !== undefined, "a target is reached through one that the source sends to");
      return target.through === null ? link : new RelayedTarget(index, target, link, options.clock);
    });
    this.#links = [...links.values()];
    this.#relayed = this.all.filter((target) => target instanceof RelayedTarget);
  }

  #newLink(target: JobTarget, index: number): TargetLink {
    const { clock, store, record, connect, ringState, report } = this.#options;
    const { compression, owners, targets } = record;
    const { agent } = target;
    const link: TargetLink = new TargetLink({
      index,
      count: targets.length,
      onward: this.#behind(agent).map((behind) => behind.index),
      target,
      clock,
      store,
      compression,
      owners,
      connect: (signal) => connect(agent, this.#onwardOf(agent), signal),
      ringState,
      onTarget: (state) => this.#onTarget(link, state),
      onChange: () => {
        for (const behind of this.#relayed) if (behind.through === agent) behind.wayChanged();
      },
      report: (level, message) => report(level, message, agent),
    });
    return link;
  }

  /** Targets that get the ops from that one. */
  #behind(agent: string): OnwardTarget[] {
    const { replica } = this.#options.record;
    return this.#settings.flatMap(({ agent: behind, through, limitBytes, schedule }, index) => {
      return through === agent ? [{ agent: behind, index, replica, limitBytes, schedule }] : [];
    });
  }

  #onwardOf(agent: string): Onward | null {
    const targets = this.#behind(agent);
    const index = this.#settings.findIndex((target) => target.agent === agent);
    return targets.length === 0 ? null : { index, targets };
  }

  /** On the disks of all that the source sends to, where those behind them can get it. */
  get durable(): number {
    return Math.min(...this.#links.map((link) => link.durable));
  }

  get isCopying(): boolean {
    return this.all.some(({ copy }) => isCopying(copy));
  }

  /** Called often. `headLsn`: the last that was given out; see {@link TargetLink.pump}. */
  pump(availableLsn: number, headLsn: number): void {
    for (const link of this.#links) link.pump(availableLsn, headLsn);
    for (const target of this.#relayed) target.observeLag(headLsn);
  }

  #onTarget(link: TargetLink, state: TargetState): void {
    this.#hear(link, state);
    const { onward } = state;
    if (onward === undefined) return;
    const target = this.#relayed.find(({ agent, through }) => {
      return agent === onward.agent && through === link.agent;
    });
    if (target === undefined) throw new FrameError("it speaks for who is no target behind it");
    target.hear(onward);
    if (onward.state !== undefined) this.#hear(target, onward.state);
    const promoted = onward.link?.promoted ?? null;
    if (promoted !== null) this.#options.onPromoted(promoted);
  }

  #hear({ questions }: TargetView, state: TargetState): void {
    if (state.record !== undefined) this.#options.onRecord(state.record);
    questions.hear(state);
  }

  /** Questions of all targets in turn, as many as the queue takes. @returns how many */
  giveQuestions(queue: CommandQueue): number {
    let given = 0;
    for (let misses = 0; misses < this.all.length; ) {
      const questions = this.all[this.#turn++ % this.all.length]?.questions;
      const ask = questions?.peek();
      if (questions === undefined || ask === undefined) {
        misses += 1;
        continue;
      }
      const [number, kind, mount, node, offset, length] = ask;
      const command = { number, kind, mount, node, offset, length };
      if (!queue.push(command as Parameters<CommandQueue["push"]>[0])) break;
      questions.shift();
      misses = 0;
      given += 1;
    }
    return given;
  }

  /** @returns whom to tell what changed for the targets behind them, of those in `changed` */
  setLimits(
    settings: readonly JobTarget[],
    changed: ReadonlySet<string>,
  ): { readonly agent: string; readonly onward: Onward }[] {
    this.#settings = settings;
    for (const [index, { limit }] of this.all.entries()) limit.change(settings[index] as JobTarget);
    return this.#links.flatMap(({ agent }) => {
      const onward = this.#onwardOf(agent);
      return onward?.targets.some((behind) => changed.has(behind.agent)) ? [{ agent, onward }] : [];
    });
  }

  async stop(): Promise<void> {
    await Promise.all(this.#links.map((link) => link.stop()));
  }
}
