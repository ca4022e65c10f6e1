import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { type TestContext, test } from "node:test";
import koffi from "koffi";

import { ServiceManager } from "./systemd.ts";

const libc = koffi.load("libc.so.6");
const socket = libc.func("int socket(int, int, int)");
const bind = libc.func("int bind(int, const void*, uint32_t)");
const recv = libc.func("intptr_t recv(int, void*, size_t, int)");
const close = libc.func("int close(int)");

const MSG_DONTWAIT = 0x40;

/** A service manager's end: gives what has come, or undefined. */
function receiver(t: TestContext, path: string): () => string | undefined {
  const descriptor = Number(socket(1, 2, 0));
  t.after(() => close(descriptor));
  const name = Buffer.from(path.startsWith("@") ? `\0${path.slice(1)}` : `${path}\0`);
  const address = Buffer.concat([Buffer.of(1, 0), name]);
  assert.equal(bind(descriptor, address, address.length), 0);
  return () => {
    const buffer = Buffer.alloc(1000);
    const length = Number(recv(descriptor, buffer, buffer.length, MSG_DONTWAIT));
    return length < 0 ? undefined : buffer.toString("utf8", 0, length);
  };
}

test("the service manager hears that we are ready, alive and stopping", (t) => {
  const folder = mkdtempSync(`${tmpdir()}/standin-notify-`);
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const path of [`${folder}/notify`, `@standin-test-${process.pid}`]) {
    const next = receiver(t, path);
    const manager = new ServiceManager({ NOTIFY_SOCKET: path, WATCHDOG_USEC: "3000000" }, 5);
    assert.equal(manager.watchdogMs, 1000);
    manager.ready("agent a");
    manager.alive();
    manager.stopping();
    assert.equal(next(), "READY=1\nSTATUS=agent a");
    assert.equal(next(), "WATCHDOG=1");
    assert.equal(next(), "STOPPING=1\nSTATUS=stopping");
    assert.equal(next(), undefined);
  }
});

test("without a service manager, or with one that is not for us, nothing fails", () => {
  for (const environment of [{}, { NOTIFY_SOCKET: "/nowhere/at/all" }, { NOTIFY_SOCKET: "x" }]) {
    new ServiceManager(environment, 5).ready("x");
  }
  const other = { NOTIFY_SOCKET: "/x", WATCHDOG_USEC: "1000", WATCHDOG_PID: "6" };
  assert.equal(new ServiceManager(other, 5).watchdogMs, undefined);
  assert.equal(new ServiceManager({ WATCHDOG_USEC: "1000" }, 5).watchdogMs, undefined);
});
