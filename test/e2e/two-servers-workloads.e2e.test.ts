/**
 * Real applications at work on one of two servers. `STANDIN_WORKLOADS=all` runs all of them, which
 * every run does with `standin local`; by default the fuzzer alone. Sizes: see
 * test/support/workloads.ts.
 */
import { test } from "node:test";

import { skipUnless } from "../support/capabilities.ts";
import { serversSide } from "../support/workload-side.ts";
import { runWorkload, WORKLOAD_MS_MAX, WORKLOADS } from "../support/workloads.ts";

const isLong = process.env.STANDIN_WORKLOADS === "all";
const skipIfShort = isLong ? false : "only with STANDIN_WORKLOADS=all";

for (const [i, workload] of WORKLOADS.entries()) {
  const skip = skipUnless("root", "fuse", "fuse-resend", "network-namespaces", ...workload.needs);
  const options = { skip: (i > 0 && skipIfShort) || skip, timeout: WORKLOAD_MS_MAX };
  test(`${workload.name}: is on the other server`, options, async (t) => {
    await runWorkload(t, await serversSide(t), workload);
  });
}
