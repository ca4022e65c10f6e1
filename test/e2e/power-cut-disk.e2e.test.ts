/**
 * Power cuts of the target. Its state and its replica live on a disk whose writes are recorded; the
 * recording is cut at random moments, what no flush had covered is kept or lost block by block, and
 * from what remains the target comes back without a source. Each time everything that was
 * acknowledged as durable is in the replica, and the replica is what it was at one LSN.
 *
 * STANDIN_CUTS: how many (200 for the acceptance), STANDIN_SEED, STANDIN_CUT_SECONDS of load.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import type { ApplierRuntime } from "../../src/agent/applier-runtime.ts";
import { Prng } from "../../src/base/prng.ts";
import { CommandQueue } from "../../src/journal/command-queue.ts";
import { umask } from "../../src/platform/libc.ts";
import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { DiskTarget } from "../support/disk-target.ts";
import { LoopMount } from "../support/loop-mount.ts";
import { OpLog } from "../support/op-log.ts";
import { RandomOperations } from "../support/random-operations.ts";
import { CutImages, RecordingDisk } from "../support/recording-disk.ts";
import { ReferenceReplica } from "../support/reference-replica.ts";

umask(0);
const skip = skipUnless("root", "fuse", "command:mkfs.ext4");
const SEED = Number(process.env.STANDIN_SEED ?? 1);
const CUTS = Number(process.env.STANDIN_CUTS ?? 10);
const LOAD_MS = Number(process.env.STANDIN_CUT_SECONDS ?? 10) * 1000;
const DISK_BYTES = 192 << 20;
const CHECKPOINT_MS = 700;

/** Acknowledged before the disk had done `position` entries. */
interface Mark {
  readonly position: number;
  readonly lsn: number;
}

interface Run {
  readonly marks: Mark[];
  readonly startPosition: number;
  readonly checkpoints: number;
}

/** Sends what is new, waits until it is durable, and lets the target work. */
async function exchange(ops: OpLog, target: DiskTarget, disk: RecordingDisk, marks: Mark[]) {
  const entry = ops.takeNew();
  if (entry !== undefined) {
    target.log.append(entry);
    const lsn = await target.log.sync();
    marks.push({ position: disk.position, lsn });
  }
  await target.work();
  const queue = new CommandQueue(target.ring);
  for (let ask = queue.peek(); ask !== undefined; ask = queue.peek()) {
    ops.queue.push(ask);
    queue.pop();
  }
  ops.source.serve();
}

function isComplete({ runtime }: DiskTarget, ops: OpLog): boolean {
  const { control, tree, isMirrored } = runtime as ApplierRuntime;
  const isQuiet = isMirrored && !control.isPassActive && tree.wantedCount === 0;
  return isQuiet && runtime.ring.applied === ops.end;
}

async function load(ops: OpLog, disk: RecordingDisk, prng: Prng): Promise<Run> {
  const { rootIno } = ops.source;
  const target = await DiskTarget.create({
    path: disk.path,
    rootIno,
    checkpointMs: CHECKPOINT_MS,
  });
  const marks: Mark[] = [];
  const operations = new RandomOperations(ops.source, prng);
  while (!isComplete(target, ops)) await exchange(ops, target, disk, marks);
  operations.step();
  const before = target.checkpoints;
  while (target.checkpoints < before + 2) {
    operations.step();
    await exchange(ops, target, disk, marks);
  }
  const startPosition = disk.position;
  const end = performance.now() + LOAD_MS;
  while (performance.now() < end) {
    for (let i = prng.uint32() % 12; i > 0; i--) operations.step();
    await exchange(ops, target, disk, marks);
  }
  assert.equal(target.diverged, 0);
  const { checkpoints } = target;
  await target.close();
  return { marks, startPosition, checkpoints };
}

interface Cut {
  readonly position: number;
  /** The least that has to be there. */
  readonly durable: number;
  readonly image: string;
}

async function comeBack(cut: Cut, ops: OpLog, loop: LoopMount, reference: ReferenceReplica) {
  await loop.mount(cut.image, "noatime");
  let target: DiskTarget | undefined;
  try {
    const { rootIno } = ops.source;
    target = await DiskTarget.recover({ path: loop.path, rootIno, checkpointMs: CHECKPOINT_MS });
    const from = target.ring.applied;
    const end = target.log.durableLsn;
    const shown = `cut at ${cut.position}: checkpoint ${from}, log to ${end}, seed ${SEED}`;
    assert.ok(end >= cut.durable, `${cut.durable} was acknowledged: ${shown}`);
    await target.catchUp();
    assert.match(JSON.stringify(target.recoveries), /"isForeign":false/, shown);
    reference.goTo(end);
    assert.deepEqual(compareTrees(reference.path, `${loop.path}/replica`), [], shown);
    assert.equal(target.runtime.tree.wantedCount, 0, `nothing is wanted: ${shown}`);
    assert.equal(target.diverged, 0, shown);
    return { replayed: end - from, end };
  } finally {
    await target?.close();
    await loop.unmount();
  }
}

test(`the target's power is cut ${CUTS} times (seed ${SEED})`, {
  skip,
  timeout: 120_000 + LOAD_MS * 3 + CUTS * 10_000,
}, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "standin-power-"));
  const shm = mkdtempSync("/dev/shm/standin-power-");
  const disk = new RecordingDisk(folder, shm, DISK_BYTES);
  const loop = new LoopMount(join(folder, "cut"));
  let reference: ReferenceReplica | undefined;
  t.after(async () => {
    await loop.tearDown();
    await disk.stop();
    reference?.remove();
    for (const path of [folder, shm]) rmSync(path, { recursive: true, force: true });
  });
  const prng = new Prng(SEED);
  const sourcePath = join(folder, "source");
  mkdirSync(join(sourcePath, "d/e"), { recursive: true });
  writeFileSync(join(sourcePath, "d/e/f"), Buffer.alloc(3_000_000, 1));
  const ops = new OpLog(sourcePath, shm);
  await disk.start(`${shm}/counter`);
  const { marks, startPosition, checkpoints } = await load(ops, disk, prng);
  await disk.stop();
  const images = new CutImages(folder);
  reference = new ReferenceReplica(join(folder, "reference"), ops);
  const span = images.count - startPosition;
  const positions = Array.from({ length: CUTS }, () => startPosition + 1 + (prng.uint32() % span));
  const sums = { lost: 0, kept: 0, replayed: 0 };
  for (const position of positions.toSorted((a, b) => a - b)) {
    const image = join(folder, "cut-image");
    const { lost, kept } = images.cut(position, image, prng);
    const durable = marks.findLast((mark) => mark.position <= position)?.lsn ?? 0;
    const { replayed } = await comeBack({ position, durable, image }, ops, loop, reference);
    sums.lost += lost;
    sums.kept += kept;
    sums.replayed += replayed;
  }
  images.close();
  t.diagnostic(`${ops.end} ops, ${checkpoints} checkpoints, ${images.count} disk entries`);
  t.diagnostic(`${CUTS} cuts: ${JSON.stringify(sums)}`);
});
