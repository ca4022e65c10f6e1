/**
 * Op records one behind the other, each at a multiple of 8: the payload of a frame and of an entry
 * of a log.
 */
import { alignUp } from "../base/bytes.ts";
import { mirrorProblem } from "./mirror-record.ts";
import { OP_BYTES_MAX, OP_HEADER_BYTES, OpView, validateOp } from "./op.ts";

export interface OpRecords {
  readonly firstLsn: number;
  readonly lastLsn: number;
  readonly payload: Uint8Array;
  /** A frame's header fits before the payload in its buffer, which is nobody else's. */
  readonly hasHeadroom?: boolean;
}

/** What is wrong with the records, or undefined: each is valid, and the LSNs have no gap. */
export function validateRecords({ firstLsn, lastLsn, payload }: OpRecords): string | undefined {
  const op = viewOn(payload);
  let lsn = firstLsn;
  let at = 0;
  for (; at < payload.length; lsn++) {
    const available = Math.min(payload.length - at, OP_BYTES_MAX);
    const problem = validateRecord(at8(op, payload, at), available);
    if (problem !== undefined) return problem;
    if (op.lsn !== lsn) return `op ${op.lsn} stands where ${lsn} should`;
    at += alignUp(op.size, 8);
  }
  if (at !== payload.length) return "the last op is cut";
  return lsn === lastLsn + 1 ? undefined : `ops ${firstLsn} to ${lastLsn} end with ${lsn - 1}`;
}

/**
 * What is wrong with one record and all that its body says, or undefined. `available`: bytes that
 * are there at its base.
 */
export function validateRecord(op: OpView, available: number): string | undefined {
  return validateOp(op, available) ?? mirrorProblem(op);
}

/** The records from LSN `from` on, which lies within them. */
export function batchFrom(records: OpRecords, from: number): OpRecords {
  const { firstLsn, lastLsn, payload } = records;
  if (from <= firstLsn) return records;
  const op = viewOn(payload);
  let at = 0;
  for (let lsn = firstLsn; lsn < from; lsn++) at += alignUp(at8(op, payload, at).size, 8);
  return { firstLsn: from, lastLsn, payload: payload.subarray(at) };
}

/** The bytes of the record at `at`, which must be one. A view, not a copy. */
export function recordAt(payload: Uint8Array, at: number): Uint8Array {
  const view = new DataView(payload.buffer, payload.byteOffset + at, 4);
  return payload.subarray(at, at + view.getUint32(0, true));
}

/** Calls `each` with every record: a view that is valid during the call, and its offset. */
export function forEachRecord(payload: Uint8Array, each: (op: OpView, at: number) => void): void {
  const op = viewOn(payload);
  for (let at = 0; at + OP_HEADER_BYTES <= payload.length; ) {
    const { size } = at8(op, payload, at);
    each(op, at);
    at += alignUp(size, 8);
  }
}

function viewOn(payload: Uint8Array): OpView {
  return new OpView(payload.buffer as ArrayBuffer);
}

function at8(op: OpView, payload: Uint8Array, at: number): OpView {
  return op.at(payload.byteOffset + at);
}
