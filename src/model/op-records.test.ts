import assert from "node:assert/strict";
import { test } from "node:test";

import { recordsOf } from "../../test/support/ops.ts";
import { batchFrom, forEachRecord, recordAt, validateRecords } from "./op-records.ts";

const THREE = [{ data: Buffer.from("a") }, { data: Buffer.from("bc") }, { data: Buffer.alloc(0) }];

test("records that belong together are valid", () => {
  assert.equal(validateRecords(recordsOf(7, THREE)), undefined);
});

test("records that are cut, or of other LSNs than said, are refused", () => {
  const records = recordsOf(7, THREE);
  for (let length = 1; length < records.payload.length; length++) {
    const cut = { ...records, payload: records.payload.subarray(0, length) };
    assert.notEqual(validateRecords(cut), undefined, `${length} bytes`);
  }
  assert.match(validateRecords({ ...records, firstLsn: 8 }) ?? "", /stands where 8 should/);
  assert.match(validateRecords({ ...records, lastLsn: 10 }) ?? "", /end with 9/);
});

test("batchFrom() leaves out what comes before", () => {
  const records = recordsOf(7, THREE);
  const rest = batchFrom(records, 8);
  assert.equal(validateRecords(rest), undefined);
  assert.deepEqual([rest.firstLsn, rest.lastLsn], [8, 9]);
  assert.equal(batchFrom(records, 7), records);
});

test("records are found in a payload that lies within a larger buffer", () => {
  const { payload } = recordsOf(7, THREE);
  const larger = new Uint8Array(payload.length + 16);
  larger.set(payload, 8);
  const inside = larger.subarray(8, 8 + payload.length);
  const seen: number[] = [];
  forEachRecord(inside, (op, at) => {
    assert.equal(recordAt(inside, at).length, op.size);
    seen.push(op.lsn);
  });
  assert.deepEqual(seen, [7, 8, 9]);
});
