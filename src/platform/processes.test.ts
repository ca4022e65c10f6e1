import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";

import { systemClock } from "./clock.ts";
import {
  commandName,
  identify,
  isAlive,
  LivenessWatch,
  residentBytes,
  sendSignal,
} from "./processes.ts";

test("identify() knows this process, and none behind a pid that nobody has", () => {
  const ourselves = identify(process.pid);
  assert.equal(ourselves?.pid, process.pid);
  assert.ok((ourselves?.startTicks ?? 0) > 0);
  assert.ok(residentBytes(process.pid) > 1 << 20);
  assert.equal(identify(0x3fffff), undefined);
  assert.equal(commandName(0x3fffff), "?");
});

test("isAlive() and sendSignal() do not take another process with the same pid for ours", () => {
  const stranger = { pid: process.pid, startTicks: 1 };
  assert.equal(isAlive(stranger), false);
  assert.equal(sendSignal(stranger, "SIGKILL"), false);
});

test("sendSignal() reaches a process, and isAlive() sees its end", async () => {
  const child = spawn("sleep", ["60"]);
  const process = identify(child.pid!)!;
  assert.equal(isAlive(process), true);
  assert.equal(sendSignal(process, "SIGKILL"), true);
  await once(child, "exit");
  assert.equal(isAlive(process), false);
});

test("who asks often hears of an end at once, and of a zombie within a second", async (t) => {
  // What it has become does not wait for its child, which stays a zombie.
  const parent = spawn("sh", ["-c", "sleep 60 & echo $!; exec sleep 60"]);
  t.after(() => parent.kill("SIGKILL"));
  const [line] = (await once(parent.stdout, "data")) as [Buffer];
  const [own, child] = [identify(parent.pid!)!, identify(Number(line))!];
  let nowMs = 0;
  const watch = new LivenessWatch({ ...systemClock, monotonicMs: () => nowMs });
  assert.equal(watch.isAlive(child), true);
  assert.equal(sendSignal(child, "SIGKILL"), true);
  while (isAlive(child)) await systemClock.sleep(1);
  nowMs = 999;
  assert.equal(watch.isAlive(child), true, "somebody has the number");
  nowMs = 1000;
  assert.equal(watch.isAlive(child), false);
  assert.equal(watch.isAlive(own), true);
  assert.equal(watch.isAlive({ ...own, startTicks: 1 }), false, "it is asked for another one");
  assert.equal(watch.isAlive(own), true);
  parent.kill("SIGKILL");
  await once(parent, "exit");
  assert.equal(watch.isAlive(own), false);
});
