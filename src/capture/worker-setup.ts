/** Builds a worker's context from what the engine's main thread gave it. */
import { OwedTimes } from "../journal/owed-times.ts";
import { systemClock } from "../platform/clock.ts";
import { close, prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP } from "../platform/libc.ts";
import { CLONE_FS, umask, unshare } from "../platform/libc.ts";
import { Statx } from "../platform/statx.ts";
import { Beneath } from "./beneath.ts";
import { Inheritance } from "./inheritance.ts";
import { DescriptorCache } from "./descriptor-cache.ts";
import { getMappings, type WorkerData } from "./engine-shared.ts";
import { LockTable } from "./lock-table.ts";
import { NodeTable } from "./node-table.ts";
import type { Recorder } from "./recorder.ts";
import { WorkerContext } from "./worker-context.ts";
import { WorkerPool } from "./worker-pool.ts";
import { WriteTimes } from "./write-times.ts";

/**
 * Makes this thread able to act as any caller: its own umask, and capabilities that stay when the
 * file system uid changes.
 */
function prepareThread(): void {
  if (unshare(CLONE_FS) < 0) throw new Error("a worker cannot have its own umask (unshare)");
  umask(0);
  const result = prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP);
  if (result < 0) throw new Error(`a worker cannot act as its callers (prctl: errno ${-result})`);
}

export function setUpWorker(data: WorkerData, recorder: Recorder): WorkerContext {
  prepareThread();
  const { mount, shared } = data;
  const root = new Statx();
  const error = root.of(mount.rootFd);
  if (error < 0) throw new Error(`${mount.path}: statx of the root: errno ${-error}`);
  const closeFd = (fd: number): void => {
    close(fd);
  };
  const beneath = new Beneath({
    rootFd: mount.rootFd,
    rootIno: root.ino,
    nodes: NodeTable.at(getMappings(shared.mappings).nodes, shared.nodeLocks),
    files: new DescriptorCache(shared.files, closeFd),
    places: new DescriptorCache(shared.places, closeFd),
  });
  return new WorkerContext({
    mount: mount.index,
    fuseFd: mount.fuseFd,
    beneath,
    locks: new LockTable(shared.locks),
    recorder,
    device: { major: root.devMajor, minor: root.devMinor },
    inheritance: new Inheritance(shared.inheritance),
    pool: new WorkerPool(shared.pool, data.servingMax),
    writeTimes: new WriteTimes(mount.index, new OwedTimes(recorder.ring), systemClock),
    recordCopies: data.recordCopies,
  });
}
