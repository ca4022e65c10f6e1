/**
 * What a target keeps on its disk so that it can go on after a power cut: the tree and the apply
 * memory as of one LSN, and what the ring knew of the source then. See
 * docs/decisions/0005-target-checkpoint.md.
 */
import { type ApplyMemory, Counter } from "../apply/apply-memory.ts";
import { reconcile, type Reconciliation } from "../apply/reconciler.ts";
import type { ReplicaRoot } from "../apply/private-area.ts";
import { Tree, type TreeRoot } from "../capture/tree.ts";
import { HeaderAt } from "../journal/ring-layout.ts";
import type { Ring } from "../journal/ring.ts";
import type { SegmentLog } from "../journal/segment-log.ts";
import { PassKind, Phase } from "../mirror/pass-state.ts";
import { existsSync, removeTree, writeSmallFile } from "../platform/files.ts";
import { PackedFileError, packedHead, unpack, writePacked } from "../platform/packed-file.ts";
import { type ApplierConfig, rulesOf } from "./applier-config.ts";
import { type ApplierMemory, openApplierMemory } from "./applier-memory.ts";

const VERSION = 1;
/** More questions than are asked between two checkpoints: none of a lost life is asked again. */
const COMMANDS_SKIPPED = 2 ** 28;

/** Describes a checkpoint, without what it holds. */
export interface CheckpointHead {
  readonly version: typeof VERSION;
  /** Of the source; another stream counts its ops anew. */
  readonly stream: string;
  /** Everything up to here is in it, and on the replica's disk. */
  readonly lsn: number;
  /** Seconds since 1970, when it was made. */
  readonly madeAtSec: number;
  /** Words of the ring's header. */
  readonly gaps: number;
  readonly recording: number;
}

/** The one at `path` when it is whole and of that stream. What it holds is checked when used. */
export function checkpointHead(path: string, stream: string): CheckpointHead | undefined {
  const head = packedHead(path) as Partial<CheckpointHead> | undefined | null;
  if (head?.version !== VERSION || head.stream !== stream) return undefined;
  return Number.isSafeInteger(head.lsn) ? (head as CheckpointHead) : undefined;
}

/** Which log a checkpoint belongs to: the one in which its ops can be found again. */
export function checkpointStream(log: SegmentLog): string {
  return Buffer.from(log.stream ?? []).toString("hex");
}

export interface CheckpointSource {
  readonly ring: Ring;
  readonly memory: ApplierMemory;
}

/**
 * Writes the checkpoint of the last applied op, between two ops and with no times outstanding. It
 * is not in its place yet. Returns its head and bytes. @throws what the file system says
 */
export function writeCheckpoint(
  path: string,
  { ring, memory }: CheckpointSource,
  { stream, madeAtSec }: { readonly stream: string; readonly madeAtSec: number },
): { readonly head: CheckpointHead; readonly bytes: number } {
  const { tree, apply } = memory;
  const head: CheckpointHead = {
    version: VERSION,
    stream,
    lsn: ring.applied,
    madeAtSec,
    gaps: ring.word(HeaderAt.gaps),
    recording: ring.recording,
  };
  const bytes = writePacked(path, head, [
    { name: "tree", fileBytes: tree.fileBytes, parts: tree.used() },
    { name: "apply", fileBytes: apply.fileBytes, parts: [{ offset: 0, bytes: apply.bytes }] },
  ]);
  return { head, bytes };
}

/**
 * First step of a recovery, before there is a ring in `shmDir`: the applier that finds the mark
 * takes the checkpoint. The ring is to begin behind its LSN.
 */
export function markForRecovery(shmDir: string): void {
  writeSmallFile(markOf(shmDir), "");
}

/** Second step: the ring goes on as the one that was lost. */
export function resumeRing(ring: Ring, { gaps, recording }: CheckpointHead): void {
  ring.setWord(HeaderAt.gaps, gaps);
  ring.recording = recording;
}

export function isMarkedForRecovery(shmDir: string): boolean {
  return existsSync(markOf(shmDir));
}

function markOf(shmDir: string): string {
  return `${shmDir}/recover`;
}

export interface Recovered {
  readonly memory: ApplierMemory;
  readonly reconciliation: Reconciliation;
}

/**
 * Last step, in the applier: tree and apply memory are made anew from the checkpoint, and the
 * replica's names brought to it. Done from the start when it was killed in between. @throws
 * PackedFileError, TreeError: the checkpoint is damaged; call {@link giveUpRecovery}
 */
export function recover(
  config: ApplierConfig,
  ring: Ring,
  roots: ReadonlyMap<number, ReplicaRoot>,
  treeRoots: readonly TreeRoot[],
): Recovered {
  const { shmDir } = config;
  const { path = "", stream = "" } = config.checkpoint ?? {};
  const head = checkpointHead(path, stream);
  if (head?.lsn !== ring.applied) throw new PackedFileError("the checkpoint is of another ring");
  unpack(path, shmDir);
  const memory = restored(shmDir, ring, treeRoots);
  const reconciliation = reconcile({
    tree: memory.tree,
    roots,
    rules: rulesOf(config.rules),
    orphans: config.orphans ?? "aside",
    madeAtSec: head.madeAtSec,
  });
  removeTree(markOf(shmDir));
  return { memory, reconciliation };
}

/** The memory of the lost ring belongs to this one from here on. */
function restored(shmDir: string, ring: Ring, treeRoots: readonly TreeRoot[]): ApplierMemory {
  // Refuses a tree that cannot be used, where the next call would make an empty one.
  Tree.open(`${shmDir}/tree`, treeRoots).close();
  const memory = openApplierMemory(shmDir, ring, treeRoots);
  const { apply, ringId } = memory;
  skipCommands(apply);
  apply.set(Counter.ringId, ringId);
  return { ...memory, isStale: false };
}

/** Answers to questions of the lost life are in the log: they must not look like ours. */
function skipCommands(apply: ApplyMemory): void {
  apply.add(Counter.commandSequence, COMMANDS_SKIPPED);
  if (apply.get(Counter.passKind) !== PassKind.verify) return;
  // Who asked for the comparison is gone, and it would compare with what came later.
  apply.set(Counter.passKind, PassKind.none);
  apply.set(Counter.passPhase, Phase.none);
}

/** Leaves an empty memory: everything is to be compared with the source. */
export function giveUpRecovery(shmDir: string): void {
  for (const name of ["tree", "apply", "recover"]) removeTree(`${shmDir}/${name}`);
}
