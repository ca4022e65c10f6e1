/**
 * Whether a sync that was answered has been done, seen where the file's bytes end: in the image
 * that its file system lies in, which they reach when they are synced, and by themselves only
 * after half a minute.
 */
import assert from "node:assert/strict";
import {
  closeSync,
  fdatasyncSync,
  fsyncSync,
  openSync,
  readFileSync,
  readSync,
  writeSync,
} from "node:fs";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { LoopImage } from "../../test/support/loop-image.ts";
import { ProtectedFolder } from "../../test/support/protected-folder.ts";

const RECORD_BYTES = 4096;
const ROUNDS = 200;
const KILL_AT = 100;
const WAIT_MS = 10_000;

const loop = new LoopImage({ bytes: 64 << 20 });
let folder: ProtectedFolder | undefined;
after(async () => {
  await folder?.remove();
  loop.remove();
});

function record(round: number): Buffer {
  return Buffer.from(`record ${round} of the file that is synced `.padEnd(64, "-")).subarray(0, 64);
}

test("what is synced behind each write is on the disk when the sync returns", async () => {
  folder = await ProtectedFolder.start({ under: loop.path, replica: true });
  const file = openSync(`${folder.path}/log`, "w+");
  const block = Buffer.alloc(RECORD_BYTES, 0x2e);
  const write = (round: number): void => {
    record(round).copy(block);
    assert.equal(writeSync(file, block, 0, RECORD_BYTES, 0), RECORD_BYTES);
  };
  write(0);
  fsyncSync(file);
  const image = openSync(`${loop.folder}/image`, "r");
  const at = readFileSync(`${loop.folder}/image`).indexOf(record(0));
  assert.ok(at > 0, "the first record is nowhere in the image");
  const isOnDisk = (round: number): boolean => {
    const found = Buffer.alloc(record(round).length);
    readSync(image, found, 0, found.length, at);
    return found.equals(record(round));
  };
  for (let round = 1; round <= ROUNDS; round++) {
    write(round);
    if (round === KILL_AT) folder.killEngine();
    // Of both kinds in turn, now and then.
    if (round % 16 < 8) fdatasyncSync(file);
    else fsyncSync(file);
    assert.ok(isOnDisk(round), `record ${round} is not on the disk`);
  }
  for (let round = ROUNDS + 1; round <= ROUNDS + 4; round++) {
    write(round);
    fsyncSync(file);
  }
  write(ROUNDS + 5);
  const deadline = performance.now() + WAIT_MS;
  while (!isOnDisk(ROUNDS + 5)) {
    assert.ok(performance.now() < deadline, "the sync that was expected did not begin by itself");
    await sleep(5);
  }
  closeSync(image);
  closeSync(file);
});
