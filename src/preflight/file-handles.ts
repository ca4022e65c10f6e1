import { mountHolding } from "../platform/mount-table.ts";
import type { Check, Finding } from "./check.ts";

export const fileHandlesCheck: Check = {
  id: "file-handles",
  reads: "name_to_handle_at(2) on SOURCE",
  run({ source }, surroundings): Finding[] {
    if (surroundings.supportsFileHandles(source)) return [];
    const type = mountHolding(surroundings.mountTable, source)?.type ?? "unknown";
    return [
      {
        level: "error",
        code: "NO_FILE_HANDLES",
        message: `the file system of SOURCE (${type}) does not name files by handles`,
        hint: "Use a folder on ext4, xfs, btrfs, zfs or tmpfs; overlayfs needs nfs_export=on.",
      },
    ];
  },
};
