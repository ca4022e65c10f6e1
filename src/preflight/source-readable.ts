import type { Check, Finding } from "./check.ts";

export const sourceReadableCheck: Check = {
  id: "source-readable",
  reads: "the listing of SOURCE, and that it may be mounted over",
  run({ source }, surroundings): Finding[] {
    const hint = "Name an existing directory that root may list.";
    if (source === "/") {
      const message = "the root of the file system cannot be protected as a whole";
      return [{ level: "error", code: "SOURCE_IS_ROOT", message, hint: "Name folders below it." }];
    }
    const why = surroundings.unreadable(source);
    if (why === undefined) return [];
    const message = `SOURCE cannot be read: ${why}`;
    return [{ level: "error", code: "SOURCE_UNREADABLE", message, hint }];
  },
};
