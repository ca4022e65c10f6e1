import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import { systemClock } from "../platform/clock.ts";
import { takeApplierLock } from "./applier-lock.ts";

const HOLDER = join(import.meta.dirname, "../../test/support/applier-lock-holder.ts");

async function holder(t: TestContext, shm: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [HOLDER, shm], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  await once(child.stdout!, "data");
  return child;
}

test("an applier ends the one that nobody knows of, and only one has the lock", async (t) => {
  const shm = mkdtempSync("/dev/shm/standin-lock-");
  t.after(() => rmSync(shm, { recursive: true }));
  const first = await holder(t, shm);
  const firstEnd = once(first, "exit");
  const second = await holder(t, shm);
  assert.deepEqual(await firstEnd, [null, "SIGKILL"]);
  assert.equal(second.exitCode ?? second.signalCode, null);
  const secondEnd = once(second, "exit");
  const lock = await takeApplierLock(shm, systemClock);
  assert.deepEqual(await secondEnd, [null, "SIGKILL"]);
  lock.release();
});
