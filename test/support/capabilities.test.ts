import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { requireCapability, skipUnless, whyMissing } from "./capabilities.ts";

const ciBefore = process.env.CI;
afterEach(() => {
  if (ciBefore === undefined) delete process.env.CI;
  else process.env.CI = ciBefore;
});

test("whyMissing() gives a reason for a program that is not there only", () => {
  assert.equal(whyMissing("command:sh"), undefined);
  assert.match(whyMissing("command:no-such-program") ?? "", /no program no-such-program/);
});

test("requireCapability() lets a test run where the machine has everything", (t) => {
  assert.equal(requireCapability(t, "command:sh", "command:true"), true);
});

test("requireCapability() skips with the reason where something is missing", () => {
  delete process.env.CI;
  const reasons: (string | undefined)[] = [];
  const t = { skip: (reason?: string) => void reasons.push(reason) };
  assert.equal(requireCapability(t, "command:sh", "command:no-such-program"), false);
  assert.match(reasons.join(), /^needs command:no-such-program: no program/);
});

test("skipUnless() fails where CI is set, so that no check is lost unseen", () => {
  process.env.CI = "true";
  assert.throws(() => skipUnless("command:no-such-program"), /skipping is not allowed/);
  assert.equal(skipUnless("command:sh"), false);
});

test("every probe answers on this machine", () => {
  const names = [
    "root",
    "fuse",
    "fuse-resend",
    "loop-devices",
    "network-namespaces",
    "direct-io",
  ] as const;
  for (const name of names) assert.ok(["string", "undefined"].includes(typeof whyMissing(name)));
});
