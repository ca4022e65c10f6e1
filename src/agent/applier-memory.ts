/**
 * Opens what the applier keeps in shared memory, or makes it anew. Tree and apply state belong to
 * one ring: when they are of another one (the machine's memory was lost, the job was made again),
 * the names in the tree are still worth keeping, but ops may be missing, and everything is to be
 * compared.
 */
import { ApplyMemory, Counter } from "../apply/apply-memory.ts";
import { Tree, type TreeRoot } from "../capture/tree.ts";
import { TreeError } from "../capture/tree-error.ts";
import type { Ring } from "../journal/ring.ts";
import type { PassState } from "../mirror/pass-state.ts";
import { existsSync } from "../platform/files.ts";
import { Statx } from "../platform/statx.ts";

export interface ApplierMemory {
  readonly tree: Tree;
  readonly apply: ApplyMemory;
  /** The ring is not the one that this was last used with: a pass over everything is due. */
  readonly isStale: boolean;
  /**
   * By which the ring is recognized; to be stored as {@link Counter.ringId} when that pass has
   * begun.
   */
  readonly ringId: number;
}

export function openApplierMemory(
  shmDir: string,
  ring: Ring,
  roots: readonly TreeRoot[],
): ApplierMemory {
  const ringId = inodeOf(ring);
  const tree = openTree(`${shmDir}/tree`, roots);
  const apply = tree === undefined ? undefined : openApply(`${shmDir}/apply`);
  if (tree === undefined || apply === undefined) {
    tree?.close();
    const created = ApplyMemory.create(`${shmDir}/apply`);
    countFrom(created, ring);
    return { apply: created, tree: Tree.create(`${shmDir}/tree`, roots), isStale: true, ringId };
  }
  const isStale = apply.get(Counter.ringId) !== ringId;
  if (isStale) {
    tree.forgetLsn();
    apply.setIntent(0, 0);
    countFrom(apply, ring);
  }
  return { tree, apply, isStale, ringId };
}

/** Of a ring that is new to this memory. */
function countFrom(apply: ApplyMemory, ring: Ring): void {
  apply.set(Counter.opsBegun, 0);
  apply.set(Counter.opsBegunBehind, ring.applied);
}

function inodeOf(ring: Ring): number {
  const status = new Statx();
  return status.of(ring.memory.fd) === 0 ? status.ino : 0;
}

/** Undefined when there is none that can be used. */
function openTree(path: string, roots: readonly TreeRoot[]): Tree | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return Tree.open(path, roots);
  } catch (error) {
    if (error instanceof TreeError) return undefined;
    throw error;
  }
}

function openApply(path: string): ApplyMemory | undefined {
  return existsSync(path) ? ApplyMemory.open(path) : undefined;
}

/** The pass's numbers in shared memory. */
export function sharedPassState(memory: ApplyMemory): PassState {
  const field = (counter: Counter) => ({
    get: () => memory.get(counter),
    set: (value: number) => memory.set(counter, value),
    enumerable: true,
  });
  return Object.defineProperties({} as PassState, {
    number: field(Counter.pass),
    kind: field(Counter.passKind),
    phase: field(Counter.passPhase),
    filesTotal: field(Counter.filesTotal),
    filesDone: field(Counter.filesDone),
    bytesTotal: field(Counter.bytesTotal),
    bytesDone: field(Counter.bytesDone),
    differing: field(Counter.differing),
    commandSequence: field(Counter.commandSequence),
  });
}
