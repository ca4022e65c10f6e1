import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";

import { commandName, identify, isAlive, residentBytes, sendSignal } from "./processes.ts";

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
