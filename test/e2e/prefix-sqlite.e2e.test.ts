import { test } from "node:test";

import { skipUnless } from "../support/capabilities.ts";
import { cutPlan } from "../support/cut-plan.ts";
import { LocalSide } from "../support/prefix-side.ts";
import { makeCuts } from "../support/prefix-stage.ts";
import { SqliteSubject } from "../support/sqlite-subject.ts";

const plan = cutPlan();

test("a copy of a SQLite database in WAL mode opens with every row that was flushed", {
  skip: skipUnless("root", "fuse", "fuse-resend"),
  timeout: plan.timeoutMs,
}, (t) => {
  const side = new LocalSide();
  return makeCuts(t, plan, side, new SqliteSubject(side.folder));
});
