/** Memory that the threads of one engine share; it dies with the engine, locks included. */
import type { Mapping } from "../platform/shared-memory.ts";
import { Inheritance } from "./inheritance.ts";
import { DescriptorCache } from "./descriptor-cache.ts";
import type { EngineMount } from "./engine-config.ts";
import { LockTable } from "./lock-table.ts";
import { NodeTable } from "./node-table.ts";
import { WorkerPool } from "./worker-pool.ts";

/** Of all mounts; with the descriptors of the process itself well below 1,000. */
const FILES_MAX = 256;
const PLACES_MAX = 256;

export interface EngineShared {
  readonly locks: SharedArrayBuffer;
  readonly nodeLocks: SharedArrayBuffer;
  readonly files: SharedArrayBuffer;
  readonly places: SharedArrayBuffer;
  readonly inheritance: SharedArrayBuffer;
  readonly pool: SharedArrayBuffer;
  /** One i32: {@link Gate}. */
  readonly gate: SharedArrayBuffer;
  /** {@link setMappings} */
  readonly mappings: SharedArrayBuffer;
}

/** The files in shared memory that all threads of an engine use, mapped once. */
export interface EngineMappings {
  readonly ring: Mapping;
  readonly nodes: Mapping;
}

const MAPPING_FLOATS = 3;

/** Before the gate opens. */
export function setMappings(words: SharedArrayBuffer, { ring, nodes }: EngineMappings): void {
  const numbers = [ring, nodes].flatMap(({ fd, size, address }) => [fd, size, address]);
  new Float64Array(words).set(numbers);
}

/** After the gate was found open. */
export function getMappings(words: SharedArrayBuffer): EngineMappings {
  const numbers = new Float64Array(words);
  const at = (from: number): Mapping => {
    const [fd, size, address] = numbers.subarray(from, from + MAPPING_FLOATS);
    return { fd: fd ?? -1, size: size ?? 0, address: address ?? 0 };
  };
  return { ring: at(0), nodes: at(MAPPING_FLOATS) };
}

/** The one word of the gate: which workers may serve. Rises only. */
export const Gate = {
  /** A spare: loaded, and waiting for its turn. */
  closed: 0,
  /** The first worker of the mount, which takes what the kernel sends again. */
  first: 1,
  /** All workers. */
  open: 2,
} as const;

/** Waits until the gate stands at `stage` or higher. Blocks the thread. */
export function waitForGate(gate: Int32Array, stage: number): void {
  for (;;) {
    const now = Atomics.load(gate, 0);
    if (now >= stage) return;
    Atomics.wait(gate, 0, now);
  }
}

/** Opens the gate to `stage`, if it is not that far already. */
export function raiseGate(gate: Int32Array, stage: number): void {
  if (Atomics.load(gate, 0) >= stage) return;
  Atomics.store(gate, 0, stage);
  Atomics.notify(gate, 0);
}

/** For one of `mounts` mounts, 1 to 8, which share the descriptors that a process should have. */
export function allocateShared(mounts: number): EngineShared {
  const share = 2 ** Math.ceil(Math.log2(mounts));
  return {
    locks: LockTable.allocate(),
    nodeLocks: NodeTable.allocateLocks(),
    files: DescriptorCache.allocate(FILES_MAX / share),
    places: DescriptorCache.allocate(PLACES_MAX / share),
    inheritance: Inheritance.allocate(),
    pool: WorkerPool.allocate(),
    gate: new SharedArrayBuffer(4),
    mappings: new SharedArrayBuffer(2 * MAPPING_FLOATS * 8),
  };
}

/** What a worker thread is started with. */
export interface WorkerData {
  readonly mount: EngineMount;
  readonly shared: EngineShared;
  readonly arena: number;
  readonly servingMax: number;
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
