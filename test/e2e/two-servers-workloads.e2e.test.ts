/**
 * Real applications at work on one of two servers: where `STANDIN_WORKLOADS=all` says so, because
 * every run has them with `standin local`. Sizes: test/support/workloads.ts.
 */
import { test } from "node:test";

import { skipUnless } from "../support/capabilities.ts";
import { serversSide } from "../support/workload-side.ts";
import { runWorkload, WORKLOAD_MS_MAX, WORKLOADS } from "../support/workloads.ts";

const isLong = process.env.STANDIN_WORKLOADS === "all";
const skipIfShort = isLong ? false : "only with STANDIN_WORKLOADS=all";

for (const workload of WORKLOADS) {
  const skip = skipUnless("root", "fuse", "fuse-resend", "network-namespaces", ...workload.needs);
  const options = { skip: skipIfShort || skip, timeout: WORKLOAD_MS_MAX };
  test(`${workload.name}: is on the other server`, options, async (t) => {
    await runWorkload(t, await serversSide(t), workload);
  });
}
