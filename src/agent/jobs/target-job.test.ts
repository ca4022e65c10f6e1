import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";

import { systemClock } from "../../platform/clock.ts";
import { makeTemporaryFolder, removeTree } from "../../platform/files.ts";
import type { StreamHello } from "../../protocol/stream-messages.ts";
import type { PeerConnection } from "../peer-network.ts";
import { TargetJob } from "./target-job.ts";
import { newTargetRecord } from "./target-record.ts";

const HELLO: StreamHello = {
  ...{ job: "5a11e70000000001", name: "mail", stream: "01".repeat(16), life: 1 },
  ...{ firstLsn: 1, lastLsn: 9, epoch: 1, include: [], exclude: [], orphans: "aside" },
  mounts: [{ index: 0, path: "/srv/mail", rootIno: 2, folder: "0" }],
  ...{ owners: "id", onFailureSeconds: null, startCommand: null, onward: null },
};
const SOURCE = { id: "a", name: "mail1" };

test("a source that comes while the job ends begins nothing", async (t) => {
  const home = makeTemporaryFolder("standin-target-job-");
  t.after(() => removeTree(home));
  const job = await TargetJob.open(home, newTargetRecord(HELLO, SOURCE, `${home}/replica`, ""), {
    clock: systemClock,
    report: () => {},
    onBroken: () => assert.fail("the log is sound"),
    connectOnward: () => assert.fail("nothing is sent on"),
  });
  await job.stop();
  const connection = { peer: SOURCE } as unknown as PeerConnection;
  await assert.rejects(job.accept(connection, HELLO), { code: "JOB_STOPPED" });
  assert.equal(job.life, undefined);
  const shared = readdirSync("/dev/shm").filter((name) => name.includes(HELLO.job));
  assert.deepEqual(shared, [], "no ring, and no applier on it");
});
