import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";

import { makeTemporaryFolder, removeTree, writeSmallFile } from "./files.ts";
import { openFiles, usersOfMount } from "./open-files.ts";

test("openFiles() finds a file that another process writes, with its flags", async (context) => {
  const folder = makeTemporaryFolder("standin-open-");
  const path = `${folder}/a file`;
  writeSmallFile(path, "");
  const child = spawn("sh", ["-c", 'exec 5>>"$1"; echo ready; exec sleep 60', "sh", path]);
  context.after(() => {
    child.kill("SIGKILL");
    removeTree(folder);
  });
  await once(child.stdout, "data");
  const found = [...openFiles()].filter((file) => file.path === path);
  assert.equal(found.length, 1);
  assert.equal(found[0]?.pid, child.pid);
  assert.equal((found[0]?.flags ?? 0) & 0o2003, 0o2001, "O_WRONLY and O_APPEND");
  assert.deepEqual(usersOfMount(-5), []);
});
