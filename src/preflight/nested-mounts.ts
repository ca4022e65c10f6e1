import { mountsBelow } from "../platform/mount-table.ts";
import type { Check, Finding } from "./check.ts";

export const nestedMountsCheck: Check = {
  id: "nested-mounts",
  reads: "/proc/self/mountinfo",
  run({ source }, { mountTable }): Finding[] {
    return mountsBelow(mountTable, source).map(({ path, type }) => ({
      level: "warning",
      code: "NESTED_MOUNT",
      message: `not protected: ${path}, another file system (${type}) mounted below the source`,
      hint: "It can be protected by an instance of its own.",
    }));
  },
};
