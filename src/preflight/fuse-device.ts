import type { Check, Finding } from "./check.ts";

export const fuseDeviceCheck: Check = {
  id: "fuse-device",
  reads: "/dev/fuse",
  run(_plan, { hasFuseDevice }): Finding[] {
    if (hasFuseDevice) return [];
    return [
      {
        level: "error",
        code: "NO_FUSE",
        message: "there is no /dev/fuse on this system",
        hint: "Load the module (modprobe fuse); in a container pass the device: --device /dev/fuse",
      },
    ];
  },
};
