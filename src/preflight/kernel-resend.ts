import type { Check, Finding } from "./check.ts";

/** The first kernel that repeats unanswered requests to a new engine (FUSE_NOTIFY_RESEND). */
const MAJOR = 6;
const MINOR = 9;

export function canResend(kernelRelease: string): boolean {
  const [major = 0, minor = 0] = kernelRelease.split(/[.-]/).map(Number);
  return major > MAJOR || (major === MAJOR && minor >= MINOR);
}

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
        hint: `Kernel ${MAJOR}.${MINOR} or newer makes such a crash a short pause.`,
      },
    ];
  },
};
