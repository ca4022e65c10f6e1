import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { VERSION } from "./version.ts";

test("VERSION is that of package.json", () => {
  const path = join(import.meta.dirname, "../../package.json");
  assert.equal(VERSION, (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version);
});
