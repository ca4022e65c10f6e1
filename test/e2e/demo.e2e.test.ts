import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { skipUnless } from "../support/capabilities.ts";

const MAIN = join(import.meta.dirname, "../../src/main.ts");

function leftovers(): string[] {
  const folders = readdirSync(tmpdir()).filter((name) => name.startsWith("standin-demo-"));
  const mounts = spawnSync("mount", { encoding: "utf8" }).stdout.split("\n");
  return [...folders, ...mounts.filter((line) => line.includes("standin-demo-"))];
}

const skip = skipUnless("root", "fuse", "fuse-resend");

test("standin demo finds the copy intact, and cleans up", { skip, timeout: 120_000 }, () => {
  const args = [MAIN, "demo", "--seconds", "3", "--json"];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  const figures = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Record<string, unknown>;
  assert.equal(figures["isIntact"], true);
  assert.deepEqual(leftovers(), []);
});
