/** What a target does when its machine was restarted: it goes on from its checkpoint. */
import type { Ring } from "../../journal/ring.ts";
import type { SegmentLog } from "../../journal/segment-log.ts";
import { makePrivateFolder, removeTree } from "../../platform/files.ts";
import {
  type CheckpointHead,
  checkpointHead,
  checkpointStream,
  markForRecovery,
  resumeRing,
} from "../checkpoint.ts";
import { createTargetRing } from "./target-life.ts";

export function checkpointPath(home: string): string {
  return `${home}/checkpoint`;
}

/** The checkpoint from which the log goes on without a hole; undefined when there is none. */
export function usableCheckpoint(home: string, log: SegmentLog): CheckpointHead | undefined {
  const head = checkpointHead(checkpointPath(home), checkpointStream(log));
  if (head === undefined) return undefined;
  const isCovered = log.firstLsn <= head.lsn + 1 && head.lsn <= log.lastLsn;
  return isCovered ? head : undefined;
}

/**
 * A ring that goes on behind the checkpoint, and the mark by which the applier knows it. Whatever
 * was in `shmDir` goes.
 */
export function recoverRing(shmDir: string, head: CheckpointHead): Ring {
  removeTree(shmDir);
  makePrivateFolder(shmDir);
  markForRecovery(shmDir);
  const ring = createTargetRing(shmDir, head.lsn + 1);
  resumeRing(ring, head);
  return ring;
}
