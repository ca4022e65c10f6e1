/** Gives back what an applier in this process holds: descriptors, and the memory it has mapped. */
import type { ApplierRuntime } from "../../src/agent/applier-runtime.ts";
import { close } from "../../src/platform/libc.ts";

/** The ring as the runtime has opened it too; not the one of who made it. */
export function closeRuntime(runtime: ApplierRuntime): void {
  runtime.applier.replica.closeAll();
  for (const { rootFd, namelessFd, trashFd, asideFd } of runtime.roots.values()) {
    for (const fd of [rootFd, namelessFd, trashFd, asideFd]) close(fd);
  }
  runtime.memory.tree.close();
  runtime.memory.apply.close();
  runtime.ring.close();
}
