/** Real applications at work in a folder of `standin local`. Sizes: test/support/workloads.ts. */
import { test } from "node:test";

import { skipUnless } from "../support/capabilities.ts";
import { localSide } from "../support/workload-side.ts";
import { runWorkload, WORKLOAD_MS_MAX, WORKLOADS } from "../support/workloads.ts";

for (const workload of WORKLOADS) {
  const skip = skipUnless("root", "fuse", "fuse-resend", ...workload.needs);
  test(`${workload.name}: is in the copy`, { skip, timeout: WORKLOAD_MS_MAX }, async (t) => {
    await runWorkload(t, await localSide(t), workload);
  });
}
