/** Memory that the threads of one engine share; it dies with the engine, locks included. */
import { DefaultAcls } from "./default-acls.ts";
import { DescriptorCache } from "./descriptor-cache.ts";
import type { EngineMount } from "./engine-config.ts";
import { LockTable } from "./lock-table.ts";
import { NodeTable } from "./node-table.ts";

/** Per mount; with the descriptors of the process itself well below 1,000. */
const FILES_MAX = 256;
const PLACES_MAX = 256;

export interface EngineShared {
  readonly locks: SharedArrayBuffer;
  readonly nodeLocks: SharedArrayBuffer;
  readonly files: SharedArrayBuffer;
  readonly places: SharedArrayBuffer;
  readonly defaultAcls: SharedArrayBuffer;
  /** i32 by `Gate`. */
  readonly gate: SharedArrayBuffer;
}

/** Words of the gate: which workers may serve. */
export const Gate = {
  /** 0: only the first worker of each mount, on what the kernel sends again. 1: all. */
  open: 0,
  /** Set by a first worker that has seen a request which was not sent again: nothing older is left. */
  caughtUp: 1,
} as const;

export function allocateShared(): EngineShared {
  return {
    locks: LockTable.allocate(),
    nodeLocks: NodeTable.allocateLocks(),
    files: DescriptorCache.allocate(FILES_MAX),
    places: DescriptorCache.allocate(PLACES_MAX),
    defaultAcls: DefaultAcls.allocate(),
    gate: new SharedArrayBuffer(8),
  };
}

/** What a worker thread is started with. */
export interface WorkerData {
  readonly shmDir: string;
  readonly mount: EngineMount;
  readonly shared: EngineShared;
  readonly arena: number;
  /** The worker that takes what the kernel sends again after a restart. */
  readonly isFirst: boolean;
  readonly recordCopies: boolean;
}

/** What it reports. */
export type WorkerMessage =
  | { readonly kind: "ready" }
  /** The session ended; ENODEV: unmounted or aborted. */
  | { readonly kind: "ended"; readonly errno: number }
  /** A handler threw; the request was answered EIO. */
  | { readonly kind: "bug"; readonly message: string };
