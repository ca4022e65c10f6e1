/** The machine we run on, for pre-flight. */
import { supportsFileHandles } from "../platform/file-handles.ts";
import {
  existsSync,
  fileIdentity,
  listNames,
  readTextIfPresent,
  spaceOf,
} from "../platform/files.ts";
import { kernelRelease } from "../platform/machine.ts";
import { readMountTable } from "../platform/mount-table.ts";
import { openFiles, sharedWritableMaps } from "../platform/open-files.ts";
import type { OtherInstance, Surroundings } from "./check.ts";

export function machineSurroundings(otherInstances: readonly OtherInstance[]): Surroundings {
  return {
    capabilities: effectiveCapabilities(),
    hasFuseDevice: existsSync("/dev/fuse"),
    kernelRelease: kernelRelease(),
    mountTable: readMountTable(),
    otherInstances,
    openFiles,
    sharedWritableMaps,
    identity: (path) => attempt(() => fileIdentity(path)),
    unreadable: whyUnreadable,
    supportsFileHandles,
    space: spaceOf,
  };
}

function effectiveCapabilities(): bigint {
  const status = readTextIfPresent("/proc/self/status") ?? "";
  return BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
}

function whyUnreadable(path: string): string | undefined {
  try {
    listNames(path);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
