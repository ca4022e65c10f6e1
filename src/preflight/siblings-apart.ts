import type { Check, Finding } from "./check.ts";
import { overlap } from "./folders-apart.ts";

/** What lies in two folders of a job would be in one order twice, and captured through one only. */
export const siblingsApartCheck: Check = {
  id: "siblings-apart",
  reads: "the real paths, and device and inode, of the folders of one job",
  run({ source, siblings = [] }, surroundings): Finding[] {
    const other = siblings.find((sibling) => overlap(source, sibling, surroundings));
    if (other === undefined) return [];
    return [
      {
        level: "error",
        code: "PATHS_OVERLAP",
        message: `${source} and ${other} hold the same files`,
        hint: "Give the one that holds the other alone, or folders that are apart.",
      },
    ];
  },
};
