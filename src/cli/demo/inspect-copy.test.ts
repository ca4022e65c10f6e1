import assert from "node:assert/strict";
import { test } from "node:test";

import {
  makeFolder,
  makeTemporaryFolder,
  removeTree,
  writeSmallFile,
} from "../../platform/files.ts";
import { inspectMail, isIntact } from "./inspect-copy.ts";
import { bodyOf } from "./message-body.ts";

test("inspectMail() finds missing, damaged and left out messages", (context) => {
  const folder = makeTemporaryFolder("standin-inspect-");
  context.after(() => removeTree(folder));
  makeFolder(`${folder}/new`);
  const promised = [1, 2, 3].map((number) => ({ number, atMs: 0 }));
  for (const number of [1, 2, 3, 4]) writeSmallFile(`${folder}/new/${number}.demo`, bodyOf(number));
  assert.equal(isIntact(inspectMail(folder, promised)), true);
  writeSmallFile(`${folder}/new/2.demo`, bodyOf(2).slice(0, -5));
  assert.equal(inspectMail(folder, promised).damaged, 1);
  removeTree(`${folder}/new/3.demo`);
  const inspection = inspectMail(folder, promised);
  assert.deepEqual({ ...inspection }, { promised: 3, found: 3, missing: 1, damaged: 1, gaps: 1 });
  assert.equal(isIntact(inspection), false);
});
