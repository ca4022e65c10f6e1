/** The applier's configuration, from an instance and its options. */
import type { ApplierConfig } from "./applier-config.ts";
import type { InstanceRecord } from "./instance-record.ts";
import type { LocalOptions } from "./local-options.ts";

export function applierConfigOf(record: InstanceRecord, options: LocalOptions): ApplierConfig {
  return {
    shmDir: record.shmDir,
    mounts: [{ index: 0, rootIno: record.sourceInode, replica: record.replica }],
    rules: { include: options.include, exclude: options.exclude },
    orphans: options.orphans,
  };
}
