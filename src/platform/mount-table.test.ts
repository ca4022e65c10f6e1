import assert from "node:assert/strict";
import { test } from "node:test";

import { isAtOrBelow, mountHolding, mountsBelow, parseMountTable } from "./mount-table.ts";

const TEXT = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /srv/a\\040b rw,nosuid,nodev - fuse.standin /srv/a\\040b rw,user_id=0
31 30 0:26 / /srv/a\\040b/tmp rw shared:3 master:1 - tmpfs tmpfs rw
nonsense
`;

test("parseMountTable() reads optional fields and escapes, and leaves out other lines", () => {
  const table = parseMountTable(TEXT);
  assert.deepEqual(
    table.map(({ id, path, type }) => [id, path, type]),
    [
      [22, "/", "ext4"],
      [30, "/srv/a b", "fuse.standin"],
      [31, "/srv/a b/tmp", "tmpfs"],
    ],
  );
  assert.deepEqual(table[1]?.options, ["rw", "nosuid", "nodev"]);
});

test("mountHolding() finds the innermost mount, mountsBelow() those strictly below", () => {
  const table = parseMountTable(TEXT);
  assert.equal(mountHolding(table, "/srv/a b/file")?.id, 30);
  assert.equal(mountHolding(table, "/srv/a bc")?.id, 22);
  assert.deepEqual(
    mountsBelow(table, "/srv/a b").map(({ id }) => id),
    [31],
  );
});

test("isAtOrBelow() compares whole names", () => {
  assert.ok(isAtOrBelow("/a/b", "/a"));
  assert.ok(isAtOrBelow("/a", "/"));
  assert.ok(!isAtOrBelow("/ab", "/a"));
});
