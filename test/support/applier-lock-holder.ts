/** Takes an applier's lock, says so, and keeps it: `applier-lock-holder.ts SHM_DIR`. */
import { takeApplierLock } from "../../src/agent/applier-lock.ts";
import { systemClock } from "../../src/platform/clock.ts";

await takeApplierLock(process.argv[2] ?? "", systemClock);
process.stdout.write("taken\n");
setInterval(() => {}, 1 << 30);
