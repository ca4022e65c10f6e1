import assert from "node:assert/strict";
import { test } from "node:test";

import { parseSourceRecord } from "./source-record.ts";
import { parseTargetRecord, replicaOf } from "./target-record.ts";

const MOUNT = { index: 0, path: "/srv/mail", rootIno: 2, folder: "0" };

test("parseSourceRecord() takes what is complete, and nothing else", () => {
  const lists = { paths: ["/srv/mail"], targets: [], mounts: [MOUNT], binds: [] };
  const record = { version: 1, id: "1", stream: "0", ...lists };
  assert.deepEqual(parseSourceRecord(record), record);
  for (const name of Object.keys(record)) {
    assert.equal(parseSourceRecord({ ...record, [name]: undefined }), undefined, name);
  }
});

test("parseTargetRecord() takes what is complete, and nothing else", () => {
  const record = { version: 1, job: "1", replica: "/replica", epoch: 2, mounts: [MOUNT] };
  const parsed = parseTargetRecord(record);
  assert.ok(parsed);
  assert.equal(replicaOf(parsed, MOUNT), "/replica/0");
  for (const name of Object.keys(record)) {
    assert.equal(parseTargetRecord({ ...record, [name]: undefined }), undefined, name);
  }
});

test("records of earlier versions say of what they do not know that it is not known", () => {
  const record = { version: 1, job: "1", replica: "/replica", epoch: 2, mounts: [MOUNT] };
  const complete = parseTargetRecord({ ...record, due: "none" });
  assert.deepEqual([complete?.missedBehind, complete?.onward], [null, null]);
  const compared = parseTargetRecord({ ...record, due: "resync" });
  assert.equal(compared?.missedBehind, 0, "nothing behind a gap may make it complete");
  assert.equal(parseTargetRecord({ ...record, due: "resync", missedBehind: 7 })?.missedBehind, 7);
  const lists = { paths: ["/srv/mail"], mounts: [MOUNT], binds: [] };
  const targets = [{ agent: "b" }];
  const source = parseSourceRecord({ version: 1, id: "1", stream: "0", ...lists, targets });
  assert.equal(source?.targets[0]?.through, null);
});
