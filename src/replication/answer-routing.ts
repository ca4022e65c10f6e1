/**
 * Where a job has several targets, each asks the source's one mirror thread, and the answers stand
 * in the one stream. The numbers of questions are told apart on the way to the thread; on the way
 * out each target gets its own answers, under its own numbers, and empty ops for those of others.
 */
import { OP_HEADER_BYTES, OpKind, OpView } from "../model/op.ts";
import { forEachRecord, type OpRecords } from "../model/op-records.ts";
import { alignUp } from "../base/bytes.ts";

/** More targets than a job may have. */
const TARGETS = 64;

export class AnswerRouting {
  readonly #index: number;
  readonly #isAlone: boolean;

  /** `index`: of this target among the job's. */
  constructor(index: number, count: number) {
    this.#index = index;
    this.#isAlone = count === 1;
  }

  /** The number under which the mirror thread gets this target's question `number`. */
  tag(number: number): number {
    return this.#isAlone ? number : number * TARGETS + this.#index;
  }

  /** The ops as this target is to see them. */
  route(records: OpRecords): OpRecords {
    if (this.#isAlone) return records;
    const { firstLsn, lastLsn, payload } = records;
    const routed = new Uint8Array(payload.length);
    const view = new OpView(routed.buffer);
    let to = 0;
    forEachRecord(payload, (op, at) => {
      const isForeign = isAnswer(op) && op.extra % TARGETS !== this.#index;
      const size = isForeign ? OP_HEADER_BYTES : op.size;
      routed.set(payload.subarray(at, at + size), to);
      const out = view.at(to);
      if (isForeign) {
        const { lsn } = op;
        out.start(OpKind.void, 0, 0);
        out.lsn = lsn;
      } else if (isAnswer(op)) out.extra = Math.floor(op.extra / TARGETS);
      to += alignUp(size, 8);
    });
    return { firstLsn, lastLsn, payload: routed.subarray(0, to) };
  }
}

function isAnswer(op: OpView): boolean {
  return op.kind >= OpKind.mirrorDirectory;
}
