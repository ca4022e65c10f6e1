import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { test } from "node:test";

import { HangWatch, testMounts } from "./hang-watch.ts";

test("HangWatch ends a process that blocks its own event loop, with what it started", async () => {
  const script = `
    const { pid } = require("node:child_process").spawn("sleep", ["60"], { stdio: "inherit" });
    console.log(pid);
    for (;;);
  `;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "ignore"] });
  const watch = new HangWatch(1000);
  try {
    // The output ends only when the grandchild, which holds it too, has ended.
    const [output] = await Promise.all([Array.fromAsync(child.stdout), once(child, "exit")]);
    assert.match(Buffer.concat(output).toString(), /^\d+\n$/);
    assert.equal(child.signalCode, "SIGKILL");
  } finally {
    watch.stop();
    child.kill("SIGKILL");
  }
});

test("HangWatch leaves a process alone that ends in time", async () => {
  const watch = new HangWatch(60_000);
  try {
    const child = spawn("sleep", ["1.5"]);
    assert.deepEqual(await once(child, "exit"), [0, null]);
  } finally {
    watch.stop();
  }
});

test("testMounts() finds FUSE mounts below the temporary folder only", () => {
  const mountinfo = [
    "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw",
    `36 22 0:98 / ${tmpdir()}/standin-x/mnt rw shared:1 master:2 - fuse.standin standin rw`,
    `37 22 0:99 / ${tmpdir()}/with\\040space rw - fuse standin rw`,
    "38 22 0:97 / /srv/mail rw - fuse.standin standin rw",
    `39 22 0:96 / ${tmpdir()}/scratch rw - ext4 /dev/loop0 rw`,
    `40 22 0:95 / ${tmpdir()}/control rw - fusectl none rw`,
    "",
  ].join("\n");
  assert.deepEqual(testMounts(mountinfo), [
    { id: "36", mountPoint: `${tmpdir()}/standin-x/mnt`, minor: "98" },
    { id: "37", mountPoint: `${tmpdir()}/with space`, minor: "99" },
  ]);
});
