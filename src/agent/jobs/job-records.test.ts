import assert from "node:assert/strict";
import { test } from "node:test";

import { parseSourceRecord } from "./source-record.ts";
import { parseTargetRecord, replicaOf } from "./target-record.ts";

const MOUNT = { index: 0, path: "/srv/mail", rootIno: 2 };

test("parseSourceRecord() understands records of jobs with one path", () => {
  const old = { version: 1, id: "1", paths: ["/srv/mail"], targets: [], mounts: [MOUNT] };
  const record = parseSourceRecord({ ...old, stream: "0", bind: "/replica/0" });
  assert.deepEqual(record?.binds, ["/replica/0"]);
  assert.deepEqual(record?.mounts, [{ ...MOUNT, folder: "0" }]);
  assert.deepEqual(parseSourceRecord({ ...old, stream: "0", bind: null })?.binds, []);
  assert.equal(parseSourceRecord({ version: 1 }), undefined);
  assert.equal(parseSourceRecord({ ...old, stream: "0", mounts: [7] }), undefined);
});

test("parseTargetRecord() finds replicas and promotions of jobs with one path", () => {
  const old = { version: 1, job: "1", replica: "/replica", epoch: 2, mounts: [MOUNT] };
  const begun = { at: "", path: "/srv/mail", isForced: false, lsn: null, isDone: false };
  const record = parseTargetRecord({ ...old, promotion: begun });
  assert.ok(record);
  assert.deepEqual(record.promotion?.paths, ["/srv/mail"]);
  assert.equal(replicaOf(record, { ...MOUNT, folder: "0" }), "/replica/0");
  assert.equal(record.mounts[0]?.folder, "0");
  assert.equal(parseTargetRecord({ ...old, promotion: null })?.promotion, null);
});
