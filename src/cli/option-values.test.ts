import assert from "node:assert/strict";
import { test } from "node:test";

import { limitArgument, scheduleArgument, viaArgument } from "./option-values.ts";

const USAGE = "commander.invalidArgument";

test("a limit is a rate or none, and says what else it could be", () => {
  assert.deepEqual(limitArgument("2MB/s"), { bytesPerSecond: 2_000_000 });
  assert.deepEqual(limitArgument("none"), { bytesPerSecond: null });
  assert.throws(() => limitArgument("0"), { code: USAGE, message: /1 KiB\/s or more, or none/ });
  assert.throws(() => limitArgument("fast"), { code: USAGE, message: /Write a number and a unit/ });
});

test("windows are gathered; after --no-schedule they begin anew", () => {
  const first = scheduleArgument("mon 08:00-09:00 1M", undefined);
  assert.deepEqual(scheduleArgument("tue 08:00-09:00 1M", first), [
    "mon 08:00-09:00 1M",
    "tue 08:00-09:00 1M",
  ]);
  assert.deepEqual(scheduleArgument("wed 08:00-09:00 1M", false), ["wed 08:00-09:00 1M"]);
  const overlap = { code: USAGE, message: /overlap, on Mon 08:30 for example\. Give windows/ };
  assert.throws(() => scheduleArgument("daily 08:30-09:30 2M", first), overlap);
  assert.throws(() => scheduleArgument("at night 1M", undefined), { code: USAGE });
});

test("an address is for all targets, or for one", () => {
  const all = viaArgument("FD00::0001");
  assert.deepEqual(all, [{ agent: undefined, address: "fd00::1" }]);
  assert.deepEqual(viaArgument("db3=10.0.2.1", all)[1], { agent: "db3", address: "10.0.2.1" });
  for (const text of ["eth0", "=10.0.0.1", "a=b=10.0.0.1", "db3=", "10.0.0.1=db3", ""]) {
    const message = /Give an IP address of this server/;
    assert.throws(() => viaArgument(text), { code: USAGE, message }, text);
  }
  assert.throws(() => viaArgument("10.0.0.2", all), { message: /two addresses for all targets/ });
});
