/**
 * Where a job has several targets, each asks the source's one mirror thread, and the answers stand
 * in the one stream. The numbers of questions are told apart on the way to the thread; on the way
 * out each target gets its own answers, under its own numbers, and empty ops for those of others.
 * A target that sends the ops on gets the answers of those behind it as well, each as it is tagged:
 * it does for itself, and for them, what the source does for others.
 */
import { OP_HEADER_BYTES, OpKind, OpView } from "../model/op.ts";
import { forEachRecord, type OpRecords } from "../model/op-records.ts";
import { alignUp } from "../base/bytes.ts";
import { TARGETS_MAX } from "../protocol/stream-messages.ts";

type TakeBytes = (bytes: number) => Uint8Array<ArrayBuffer>;

export class AnswerRouting {
  readonly #index: number;
  /** Those whose answers go this way, by number. */
  readonly #takes: ReadonlySet<number>;
  /** How the answers are on the way in, and on the way out. */
  readonly #isTagged: boolean;
  readonly #untags: boolean;
  readonly #isEverything: boolean;

  private constructor(
    index: number,
    takes: readonly number[],
    how: { readonly isTagged: boolean; readonly untags: boolean; readonly isEverything: boolean },
  ) {
    this.#index = index;
    this.#takes = new Set(takes);
    this.#isTagged = how.isTagged;
    this.#untags = how.untags;
    this.#isEverything = how.isEverything;
  }

  /**
   * At the source, to the target `index` of `count`; `onward`: those that get their ops from it.
   */
  static atSource(index: number, count: number, onward: readonly number[] = []): AnswerRouting {
    const takes = [index, ...onward];
    const isEverything = takes.length === count;
    const isTagged = count > 1;
    return new AnswerRouting(index, takes, {
      isTagged,
      untags: isTagged && onward.length === 0,
      isEverything,
    });
  }

  /** At a target that sends the ops on, for itself or for one of those behind it. */
  static atTarget(index: number): AnswerRouting {
    return new AnswerRouting(index, [index], { isTagged: true, untags: true, isEverything: false });
  }

  /** The number under which the mirror thread gets this target's question `number`. */
  tag(number: number): number {
    return this.#isTagged ? number * TARGETS_MAX + this.#index : number;
  }

  /** The ops as this target is to see them, in memory from `take` unless they are the same. */
  route(records: OpRecords, take: TakeBytes = newBytes): OpRecords {
    if (this.#isEverything) return records;
    const { firstLsn, lastLsn, payload } = records;
    const routed = take(payload.length);
    const view = new OpView(routed.buffer);
    let to = 0;
    forEachRecord(payload, (op, at) => {
      const isForeign = isAnswer(op) && !this.#takes.has(op.extra % TARGETS_MAX);
      const size = isForeign ? OP_HEADER_BYTES : op.size;
      routed.set(payload.subarray(at, at + size), to);
      const out = view.at(routed.byteOffset + to);
      if (isForeign) {
        const { lsn } = op;
        out.start(OpKind.void, 0, 0);
        out.lsn = lsn;
      } else if (this.#untags && isAnswer(op)) out.extra = Math.floor(op.extra / TARGETS_MAX);
      to += alignUp(size, 8);
    });
    return { firstLsn, lastLsn, payload: routed.subarray(0, to) };
  }
}

function newBytes(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length);
}

function isAnswer(op: OpView): boolean {
  return op.kind >= OpKind.mirrorDirectory;
}
