import assert from "node:assert/strict";
import { test } from "node:test";
import { Pace } from "./pace.ts";

test("Pace looks often while it is pressed and for a moment after, else rarely", () => {
  const pace = new Pace();
  const rarely = pace.pauseMs(0);
  pace.press(1000);
  const often = pace.pauseMs(1000);
  assert.ok(often < rarely);
  assert.equal(pace.pauseMs(1000 + rarely), often, "a look later");
  pace.press(1050);
  assert.equal(pace.pauseMs(1149), often);
  assert.equal(pace.pauseMs(1150), rarely);
});
