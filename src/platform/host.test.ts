import assert from "node:assert/strict";
import { test } from "node:test";

import { normalAddress, requireLocalAddress } from "./host.ts";

test("an address is written as the system writes it", () => {
  assert.equal(normalAddress("10.0.0.1"), "10.0.0.1");
  assert.equal(normalAddress("FD00:0:0::0001"), "fd00::1");
  for (const text of ["", "10.0.0", "db2", "10.0.0.1:7400", "10.0.0.0/24"]) {
    assert.equal(normalAddress(text), undefined, text);
  }
});

test("an address that this machine does not have is refused with those that it has", async () => {
  await requireLocalAddress("127.0.0.1");
  await requireLocalAddress("127.9.8.7"); // all of 127/8 is here, and in no list
  await assert.rejects(requireLocalAddress("192.0.2.201"), {
    code: "NO_LOCAL_ADDRESS",
    message: "this server has no address 192.0.2.201",
    hint: /It has 127\.0\.0\.1, /,
  });
});
