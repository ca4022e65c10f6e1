/** Small op records for tests of what carries them. */
import { alignUp } from "../../src/base/bytes.ts";
import type { OpRecords } from "../../src/model/op-records.ts";
import { OP_HEADER_BYTES, OpKind, OpView } from "../../src/model/op.ts";

export interface TestOp {
  readonly kind?: OpKind;
  /** Bytes of a write or a mirror block. */
  readonly data?: Uint8Array;
  /** The number of the question that a mirror record answers. */
  readonly question?: number;
  /** User and group. */
  readonly owner?: readonly [number, number];
}

/** Writes and answers one behind the other, from `firstLsn` on. */
export function recordsOf(firstLsn: number, ops: readonly TestOp[]): OpRecords {
  const sizes = ops.map(({ data }) => OP_HEADER_BYTES + (data?.length ?? 0));
  const payload = new Uint8Array(sizes.reduce((sum, size) => sum + alignUp(size, 8), 0));
  const op = new OpView(payload.buffer);
  let at = 0;
  for (const [i, { kind = OpKind.write, data, question = 0, owner = [0, 0] }] of ops.entries()) {
    op.at(at).start(kind, 0, 42);
    op.lsn = firstLsn + i;
    op.extra = question;
    [op.uid, op.gid] = owner;
    op.size = sizes[i] ?? OP_HEADER_BYTES;
    op.length = data?.length ?? 0;
    payload.set(data ?? [], at + OP_HEADER_BYTES);
    at += alignUp(op.size, 8);
  }
  return { firstLsn, lastLsn: firstLsn + ops.length - 1, payload };
}
