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
  const targets = [AnswerRouting.atSource(0, 2), AnswerRouting.atSource(1, 2)] as const;
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
  const alone = AnswerRouting.atSource(0, 1);
  const stream = recordsOf(1, [{ kind: OpKind.mirrorHole, question: alone.tag(3) }]);
  assert.equal(alone.route(stream), stream);
  assert.equal(alone.tag(3), 3);
});

test("a target that sends on gets the answers of those behind it, and tells them apart", () => {
  // Of three targets the second gets the ops from the first.
  const direct = [AnswerRouting.atSource(0, 3, [1]), AnswerRouting.atSource(2, 3)] as const;
  const here = [AnswerRouting.atTarget(0), AnswerRouting.atTarget(1)] as const;
  const kind = OpKind.mirrorBlock;
  const data = Buffer.from("data");
  const questions = [direct[0].tag(9), here[1].tag(9), direct[1].tag(9)];
  assert.equal(here[0].tag(9), direct[0].tag(9), "the source and the target count alike");
  const stream = recordsOf(
    5,
    questions.map((question) => ({ kind, data, question })),
  );
  const sent = direct[0].route(stream);
  assert.deepEqual(shown(sent), [
    `5:${kind}:${questions[0]}`,
    `6:${kind}:${questions[1]}`,
    "7:0:0",
  ]);
  assert.deepEqual(shown(here[0].route(sent)), [`5:${kind}:9`, "6:0:0", "7:0:0"]);
  assert.deepEqual(shown(here[1].route(sent)), ["5:0:0", `6:${kind}:9`, "7:0:0"]);
  assert.deepEqual(shown(direct[1].route(stream)), ["5:0:0", "6:0:0", `7:${kind}:9`]);
});

test("where all targets are behind one, the source sends it everything as it is", () => {
  const only = AnswerRouting.atSource(0, 2, [1]);
  const stream = recordsOf(1, [{ kind: OpKind.mirrorHole, question: only.tag(3) }]);
  assert.equal(only.route(stream), stream);
  const taken: number[] = [];
  const memory = new Uint8Array(1000);
  const routed = AnswerRouting.atTarget(0).route(stream, (bytes) => {
    taken.push(bytes);
    return memory.subarray(40, 40 + bytes);
  });
  assert.deepEqual(taken, [stream.payload.length]);
  assert.equal(routed.payload.buffer, memory.buffer, "in the memory that was given");
  assert.deepEqual(shown(routed), [`1:${OpKind.mirrorHole}:3`]);
});
