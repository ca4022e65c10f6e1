import assert from "node:assert/strict";
import { test } from "node:test";

import { recordsOf } from "../../test/support/ops.ts";
import { forEachRecord, type OpRecords, validateRecords } from "../model/op-records.ts";
import { OpKind } from "../model/op.ts";
import { AnswerRouting } from "./answer-routing.ts";

function shown(records: OpRecords): string[] {
  const seen: string[] = [];
  forEachRecord(records.payload, (op) => seen.push(`${op.lsn}:${op.kind}:${op.extra}`));
  return seen;
}

test("each of two targets gets all changes, and its own answers under its own numbers", () => {
  const targets = [new AnswerRouting(0, 2), new AnswerRouting(1, 2)] as const;
  const data = Buffer.from("data");
  const kind = OpKind.mirrorBlock;
  const stream = recordsOf(5, [
    { data },
    { kind, data, question: targets[0].tag(9) },
    { kind, data, question: targets[1].tag(9) },
  ]);
  const routed = targets.map((target) => target.route(stream));
  for (const records of routed) assert.equal(validateRecords(records), undefined);
  assert.deepEqual(routed.map(shown), [
    ["5:1:0", `6:${kind}:9`, "7:0:0"],
    ["5:1:0", "6:0:0", `7:${kind}:9`],
  ]);
  assert.deepEqual(shown(stream).slice(0, 1), ["5:1:0"], "the stream itself is as it was");
  assert.equal(validateRecords(stream), undefined);
});

test("a single target gets everything as it is", () => {
  const alone = new AnswerRouting(0, 1);
  const stream = recordsOf(1, [{ kind: OpKind.mirrorHole, question: alone.tag(3) }]);
  assert.equal(alone.route(stream), stream);
  assert.equal(alone.tag(3), 3);
});
