import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { checkPromotionPaths, promotionPaths } from "./promotion-path.ts";

const ONE = [{ path: "/srv/mail", folder: "0" }];
const TWO = [
  { path: "/srv/db", folder: "db" },
  { path: "/srv/a=b", folder: "a-b" },
];

test("promotionPaths() puts each folder where it was, unless something else is said", () => {
  assert.deepEqual(promotionPaths(ONE, []), ["/srv/mail"]);
  assert.deepEqual(promotionPaths(ONE, ["/new/"]), ["/new"]);
  assert.deepEqual(promotionPaths(ONE, ["/new=er"]), ["/new=er"]);
  assert.deepEqual(promotionPaths(ONE, ["/srv/mail=/new"]), ["/new"]);
  assert.deepEqual(promotionPaths(TWO, []), ["/srv/db", "/srv/a=b"]);
  assert.deepEqual(promotionPaths(TWO, ["/srv/db=/new/db"]), ["/new/db", "/srv/a=b"]);
  assert.deepEqual(promotionPaths(TWO, ["/srv/a=b=/c=d", "/srv/db=/e"]), ["/e", "/c=d"]);
  assert.deepEqual(promotionPaths(TWO, ["/all"]), ["/all/db", "/all/a-b"]);
});

test("promotionPaths() refuses what does not say which folder it is for", () => {
  const wrong = { code: "PROMOTE_PATH" };
  assert.throws(() => promotionPaths(ONE, ["/a", "/b"]), wrong);
  assert.throws(() => promotionPaths(TWO, ["/a", "/b"]), wrong);
  assert.throws(() => promotionPaths(TWO, ["/srv/db=/a", "/srv/other=/b"]), wrong);
});

test("checkPromotionPaths() takes empty folders that are apart", (t) => {
  const home = mkdtempSync(join(tmpdir(), "standin-promote-"));
  t.after(() => rmSync(home, { recursive: true }));
  const wrong = { code: "PROMOTE_PATH" };
  checkPromotionPaths([join(home, "a"), join(home, "b")]);
  assert.throws(() => checkPromotionPaths([join(home, "a"), join(home, "a/b")]), wrong);
  assert.throws(() => checkPromotionPaths([join(home, "a"), join(home, "a")]), wrong);
  assert.throws(() => checkPromotionPaths(["relative"]), wrong);
  assert.throws(() => checkPromotionPaths(["/proc"]), wrong);
  writeFileSync(join(home, "file"), "");
  assert.throws(() => checkPromotionPaths([join(home, "a"), home]), wrong);
});
