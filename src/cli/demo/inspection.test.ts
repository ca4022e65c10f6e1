import assert from "node:assert/strict";
import { test } from "node:test";

import {
  makeFolder,
  makeTemporaryFolder,
  removeTree,
  writeSmallFile,
} from "../../platform/files.ts";
import { inspectMail } from "./inspection.ts";
import { bodyOf } from "./message-body.ts";

test("inspectMail() finds missing, damaged and left out messages", (t) => {
  const folder = makeTemporaryFolder("standin-inspect-");
  t.after(() => removeTree(folder));
  makeFolder(`${folder}/new`);
  const put = (name: string) => {
    writeSmallFile(`${folder}/new/${name}`, bodyOf(Number.parseInt(name, 10)));
  };
  const promised = [
    { host: "alpha", first: 1, last: 2 },
    { host: "beta", first: 4, last: 4 },
  ];
  for (const name of ["1.alpha", "2.alpha", "3.alpha", "4.beta"]) put(name);
  const whole = { found: 4, foundOf: { alpha: 3, beta: 1 }, missing: 0, damaged: 0, gaps: 0 };
  assert.deepEqual(inspectMail(folder, promised), whole, "3 was committed, and not promised");
  writeSmallFile(`${folder}/new/2.alpha`, bodyOf(2).slice(0, -5));
  assert.deepEqual(inspectMail(folder, promised), { ...whole, damaged: 1 });
  put("2.alpha");
  removeTree(`${folder}/new/4.beta`);
  put("4.alpha");
  assert.equal(inspectMail(folder, promised).missing, 1, "another server wrote it");
  removeTree(`${folder}/new/3.alpha`);
  assert.equal(inspectMail(folder, promised).gaps, 1);
});
