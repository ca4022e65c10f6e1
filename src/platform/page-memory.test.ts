import assert from "node:assert/strict";
import { readFileSync, readdirSync, rmSync } from "node:fs";
import { test } from "node:test";

import { makeTemporaryFolder } from "./files.ts";
import { folderLogFiles } from "./log-files.ts";
import { isWholePages, pageMemory } from "./page-memory.ts";

test("whole pages are told from what only looks like them", () => {
  const memory = pageMemory(20_000);
  assert.equal(memory.length, 20_000);
  assert.ok(isWholePages(memory.subarray(0, 16_384)));
  assert.ok(isWholePages(memory.subarray(8192, 12_288)));
  assert.ok(!isWholePages(memory.subarray(8192, 12_287)));
  assert.ok(!isWholePages(memory.subarray(8, 8 + 4096)));
  assert.ok(!isWholePages(new Uint8Array(4096)));
});

/** Of the descriptors of this process that are open with O_DIRECT, the files. */
function filesOpenDirect(): string[] {
  return readdirSync("/proc/self/fdinfo").flatMap((fd) => {
    try {
      const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"));
      return (parseInt(flags?.[1] ?? "0", 8) & 0o40000) === 0 ? [] : [fd];
    } catch {
      return []; // the one that listed them
    }
  });
}

test("pieces go by both ways into one file, in their order", async () => {
  const folder = makeTemporaryFolder("standin-pages-");
  try {
    const file = await (await folderLogFiles(folder)).create("log");
    const [first, second, third] = [8192, 4096, 4096].map((bytes, index) => {
      return pageMemory(bytes).fill(index + 1);
    }) as [Uint8Array, Uint8Array, Uint8Array];
    const odd = new Uint8Array(100).fill(9);
    await file.write([odd], 0);
    assert.deepEqual(filesOpenDirect(), []);
    await file.write([first, second, odd, third], 4096);
    assert.equal(filesOpenDirect().length, 1, "the folder's file system takes O_DIRECT");
    await file.write([third], 4096 + 8192 + 4096 + 100);
    const content = Buffer.concat([first, second, odd, third]);
    const found = Buffer.alloc(content.length + 100);
    assert.equal(await file.read(found, 4096), content.length);
    assert.ok(content.equals(found.subarray(0, content.length)));
    assert.equal(await file.size(), 4096 + content.length);
    await file.close();
    assert.deepEqual(filesOpenDirect(), []);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
