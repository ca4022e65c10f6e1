import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { constants, readFileSync, readdirSync, rmSync } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { test, type TestContext } from "node:test";

import { requireCapability } from "../../test/support/capabilities.ts";
import { makeTemporaryFolder } from "./files.ts";
import { folderLogFiles, type LogFile } from "./log-files.ts";
import { pageMemory } from "./page-memory.ts";

const FIRST = pageMemory(8192).fill(1);
const SECOND = pageMemory(4096).fill(2);
const THIRD = pageMemory(4096).fill(3);
const ODD = new Uint8Array(100).fill(9);

function temporaryFolder(t: TestContext): string {
  const folder = makeTemporaryFolder("standin-log-files-");
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

function isOpenDirect(fd: number | string): boolean {
  const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"));
  return (parseInt(flags?.[1] ?? "0", 8) & constants.O_DIRECT) !== 0;
}

/** How many descriptors of this process are open with O_DIRECT. */
function openDirectCount(): number {
  return readdirSync("/proc/self/fdinfo").filter((fd) => {
    try {
      return isOpenDirect(fd);
    } catch {
      return false; // the one that listed them
    }
  }).length;
}

async function assertHolds(file: LogFile, position: number, pieces: Uint8Array[]): Promise<void> {
  const content = Buffer.concat(pieces);
  const found = Buffer.alloc(content.length + 100);
  assert.equal(await file.read(found, position), content.length);
  assert.ok(content.equals(found.subarray(0, content.length)));
  assert.equal(await file.size(), position + content.length);
}

test("pieces go by both ways into one file, in their order", async (t) => {
  if (!requireCapability(t, "direct-io")) return;
  const folder = temporaryFolder(t);
  const file = await (await folderLogFiles(folder)).create("log");
  await file.write([ODD], 0);
  assert.equal(openDirectCount(), 0);
  await file.write([FIRST, SECOND, ODD, THIRD], 4096);
  assert.equal(openDirectCount(), 1);
  await file.write([THIRD], 4096 + 8192 + 4096 + 100);
  await assertHolds(file, 4096, [FIRST, SECOND, ODD, THIRD]);
  await file.close();
  assert.equal(openDirectCount(), 0);
});

test("a file system that refuses pages in a write is asked once", async (t) => {
  if (!requireCapability(t, "direct-io")) return;
  const folder = temporaryFolder(t);
  const file = await (await folderLogFiles(folder)).create("log");
  const other = await open("/dev/null");
  const handles = Object.getPrototypeOf(other) as FileHandle;
  await other.close();
  const { writev } = handles;
  let refusals = 0;
  t.mock.method(handles, "writev", function (this: FileHandle, ...args: Parameters<typeof writev>) {
    if (!isOpenDirect(this.fd)) return writev.apply(this, args);
    refusals++;
    return Promise.reject(Object.assign(new Error("refused"), { code: "EINVAL" }));
  });
  await file.write([FIRST, SECOND], 0);
  await file.write([THIRD], 12_288);
  assert.equal(refusals, 1);
  assert.equal(openDirectCount(), 0);
  await assertHolds(file, 0, [FIRST, SECOND, THIRD]);
  await file.close();
});

test("pages are written also when there is no descriptor left for them", (t) => {
  const folder = temporaryFolder(t);
  const script = `
    import assert from "node:assert/strict";
    import { openSync } from "node:fs";
    import { folderLogFiles } from "${import.meta.dirname}/log-files.ts";
    import { pageMemory } from "${import.meta.dirname}/page-memory.ts";
    const file = await (await folderLogFiles(${JSON.stringify(folder)})).create("log");
    assert.throws(() => { for (;;) openSync("/dev/null"); }, { code: "EMFILE" });
    await file.write([pageMemory(8192).fill(7)], 0);
    await file.syncData();
    process.exit(0);
  `;
  const node = [process.execPath, "--input-type=module", "-e", script];
  const { status, stderr } = spawnSync("prlimit", ["--nofile=64:64", ...node], {
    encoding: "utf8",
  });
  assert.equal(status, 0, stderr);
  assert.ok(readFileSync(`${folder}/log`).equals(Buffer.alloc(8192, 7)));
});
