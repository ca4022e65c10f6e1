import { mountHolding, readMountTable } from "../platform/mount-table.ts";

/** What the file system beneath forbids must not become possible through our mount. */
export function restrictionsOf(source: string): { nosuid: boolean; nodev: boolean } {
  const options = mountHolding(readMountTable(), source)?.options ?? [];
  return { nosuid: options.includes("nosuid"), nodev: options.includes("nodev") };
}
