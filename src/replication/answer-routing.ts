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

/** No more than a job may have. Part of the protocol: a number modulo this tells whose it is. */
export const TARGETS_MAX = 64;

type TakeBytes = (bytes: number) => Uint8Array<ArrayBuffer>;

export class AnswerRouting {
  readonly #index: number;
  /** Those whose answers go this way, by number. */
  readonly #takes: ReadonlySet<number>;
  readonly #isEverything: boolean;
  readonly #untags: boolean;

  /**
   * `index`: of this target among the job's `count`. `onward`: of those that get their ops from it.
   */
  constructor(index: number, count: number, onward: readonly number[] = []) {
    this.#index = index;
    this.#takes = new Set([index, ...onward]);
    this.#untags = count > 1 && onward.length === 0;
    this.#isEverything = this.#takes.size === count;
  }

  /** The routing at a target that sends ops on, for itself or for one of those behind it. */
  static fromTagged(index: number): AnswerRouting {
    return new AnswerRouting(index, TARGETS_MAX);
  }

  /** The number under which the mirror thread gets this target's question `number`. */
  tag(number: number): number {
    return this.#isAlone ? number : number * TARGETS_MAX + this.#index;
  }

  get #isAlone(): boolean {
    return this.#isEverything && this.#takes.size === 1;
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
