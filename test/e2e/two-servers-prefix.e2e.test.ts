/**
 * The server on which applications work dies at random instants, and the replica on the other one
 * is opened: databases and file systems must find there what a power cut would have left, and
 * everything that was flushed.
 *
 * Only where STANDIN_CUTS says how often, see test/support/cut-plan.ts: every run makes such cuts
 * with `standin local`.
 */
import { test } from "node:test";

import { skipUnless } from "../support/capabilities.ts";
import { cutPlan } from "../support/cut-plan.ts";
import { ImageSubject } from "../support/image-subject.ts";
import { addPostgresToPath } from "../support/postgres-server.ts";
import { PostgresSubject } from "../support/postgres-subject.ts";
import { ServersSide } from "../support/prefix-side.ts";
import { makeCuts } from "../support/prefix-stage.ts";
import { SqliteSubject } from "../support/sqlite-subject.ts";

addPostgresToPath();
const plan = cutPlan();
const timeout = plan.timeoutMs;
const base = ["root", "fuse", "fuse-resend", "network-namespaces", "command:ip"] as const;
const isLong = process.env.STANDIN_CUTS !== undefined;
const skipIfShort = isLong ? false : "only where STANDIN_CUTS is set";

test("SQLite in WAL mode opens on the other server, with every row that was flushed", {
  skip: skipIfShort || skipUnless(...base),
  timeout,
}, async (t) => {
  const side = await ServersSide.make(t);
  await makeCuts(t, plan, side, new SqliteSubject(side.folder));
});

test("an ext4 image is sound on the other server, with every record that was flushed", {
  skip: skipIfShort || skipUnless(...base, "loop-devices", "command:mkfs.ext4"),
  timeout,
}, async (t) => {
  const side = await ServersSide.make(t);
  await makeCuts(t, plan, side, new ImageSubject(side.folder));
});

test("PostgreSQL under pgbench starts on the other server, with every commit", {
  skip: skipIfShort || skipUnless(...base, "command:pg_amcheck", "command:setpriv"),
  timeout,
}, async (t) => {
  const side = await ServersSide.make(t);
  await makeCuts(t, plan, side, new PostgresSubject(side.folder));
});
