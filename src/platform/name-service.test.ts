import assert from "node:assert/strict";
import { test } from "node:test";

import { systemNameService } from "./name-service.ts";

test("users and groups are found by name and by number; who is unknown is left out", async () => {
  const root = { name: "root", id: 0 };
  assert.deepEqual(await systemNameService("user", ["root", "nobody-is-called-this"]), [root]);
  assert.deepEqual(await systemNameService("group", [0, 3_999_999_999]), [root]);
  assert.deepEqual(await systemNameService("user", [3_999_999_999]), []);
  assert.deepEqual(await systemNameService("user", []), []);
});

test("more are asked for than one command takes", async () => {
  const many = Array.from({ length: 250 }, (_, i) => 3_999_000_000 + i);
  assert.deepEqual(await systemNameService("user", [...many, 0]), [{ name: "root", id: 0 }]);
});

test("no answer is not the same as unknown", async (t) => {
  const { PATH } = process.env;
  t.after(() => {
    process.env.PATH = PATH;
  });
  process.env.PATH = "/nonexistent";
  await assert.rejects(systemNameService("user", ["root"]), {
    code: "NAME_SERVICE",
    message: /ENOENT/,
    hint: /getent passwd/,
  });
});
