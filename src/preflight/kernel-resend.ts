import { canResend, RESEND_SINCE } from "../fuse/kernel.ts";
import type { Check, Finding } from "./check.ts";

export const kernelResendCheck: Check = {
  id: "kernel-resend",
  reads: "the kernel's release",
  run(_plan, { kernelRelease }): Finding[] {
    if (canResend(kernelRelease)) return [];
    return [
      {
        level: "warning",
        code: "NO_RESEND",
        message:
          `kernel ${kernelRelease} cannot repeat requests to a new engine: when the engine ` +
          "crashes, the folder is mounted again, and open files get errors",
        hint: `Kernel ${RESEND_SINCE.major}.${RESEND_SINCE.minor} or newer makes it a short pause.`,
      },
    ];
  },
};
