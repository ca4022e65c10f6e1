import { readFileSync } from "node:fs";

/**
 * The text of a file of /proc or /sys, "" when there is none. Read in one go: what such a file
 * tells of may end at any instant, also between a look whether it exists and the reading.
 */
export function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
