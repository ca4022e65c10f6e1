import { test } from "node:test";

import { skipUnless } from "../support/capabilities.ts";
import { cutPlan } from "../support/cut-plan.ts";
import { ImageSubject } from "../support/image-subject.ts";
import { LocalSide } from "../support/prefix-side.ts";
import { makeCuts } from "../support/prefix-stage.ts";

const plan = cutPlan();

test("a copy of a mounted ext4 image is sound, with every record that was flushed", {
  skip: skipUnless("root", "fuse", "fuse-resend", "loop-devices", "command:mkfs.ext4"),
  timeout: plan.timeoutMs,
}, (t) => {
  const side = new LocalSide();
  return makeCuts(t, plan, side, new ImageSubject(side.folder));
});
