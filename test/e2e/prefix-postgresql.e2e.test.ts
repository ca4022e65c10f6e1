import { test } from "node:test";

import { skipUnless } from "../support/capabilities.ts";
import { cutPlan } from "../support/cut-plan.ts";
import { addPostgresToPath } from "../support/postgres-server.ts";
import { PostgresSubject } from "../support/postgres-subject.ts";
import { LocalSide } from "../support/prefix-side.ts";
import { makeCuts } from "../support/prefix-stage.ts";

addPostgresToPath();
const plan = cutPlan();

test("a copy of a PostgreSQL cluster under pgbench starts, with every commit that was flushed", {
  skip: skipUnless("root", "fuse", "fuse-resend", "command:pg_amcheck", "command:setpriv"),
  timeout: plan.timeoutMs,
}, (t) => {
  const side = new LocalSide();
  return makeCuts(t, plan, side, new PostgresSubject(side.folder));
});
