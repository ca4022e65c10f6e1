import type { Check, Finding } from "./check.ts";

const NEEDED: readonly (readonly [bit: number, name: string, why: string])[] = [
  [0, "CAP_CHOWN", "give files of the copy to their owners"],
  [1, "CAP_DAC_OVERRIDE", "read and write everybody's files"],
  [2, "CAP_DAC_READ_SEARCH", "open files by handle"],
  [6, "CAP_SETGID", "act as the calling user's group"],
  [7, "CAP_SETUID", "act as the calling user"],
  [21, "CAP_SYS_ADMIN", "mount"],
];

export const privilegesCheck: Check = {
  id: "privileges",
  reads: "CapEff in /proc/self/status",
  run(_plan, { capabilities }): Finding[] {
    const missing = NEEDED.filter(([bit]) => (capabilities & (1n << BigInt(bit))) === 0n);
    if (missing.length === 0) return [];
    const list = missing.map(([, name, why]) => `${name} (to ${why})`).join(", ");
    return [
      {
        level: "error",
        code: "NO_PRIVILEGE",
        message: `rights are missing: ${list}`,
        hint: "Run it as root; in a container, add these capabilities.",
      },
    ];
  },
};
