/** A replica on a file system of its own that runs full. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, test } from "node:test";
import { FakeSource } from "../../test/support/fake-source.ts";
import { compareTrees } from "../../test/support/compare-trees.ts";
import { Ring } from "../journal/ring.ts";
import { MNT_DETACH, mount, umask, umount2 } from "../platform/libc.ts";
import { ApplierRuntime } from "./applier-runtime.ts";

umask(0);
const home = mkdtempSync(`${tmpdir()}/standin-full-`);
const shm = mkdtempSync("/dev/shm/standin-full-");
after(() => {
  umount2(`${home}/replica`, MNT_DETACH);
  rmSync(home, { recursive: true, force: true });
  rmSync(shm, { recursive: true, force: true });
});

test("the applier stops at a full replica, loses nothing, and goes on when there is room", () => {
  mkdirSync(`${home}/source`);
  mkdirSync(`${home}/replica`);
  assert.equal(mount("tmpfs", `${home}/replica`, "tmpfs", 0, "size=2m"), 0);
  const ring = Ring.create(`${shm}/ring`, { arenas: 2, indexSlots: 4096, arenaBytes: 16 << 20 });
  const source = new FakeSource(`${home}/source`, ring);
  const runtime = new ApplierRuntime(
    {
      shmDir: shm,
      mounts: [{ index: 0, rootIno: source.rootIno, replica: `${home}/replica` }],
      orphans: "aside",
    },
    { notice: () => {}, passStarted: () => {}, passEnded: () => {} },
  );
  const round = () => {
    runtime.housekeep(performance.now());
    source.serve();
    return runtime.applyBatch(() => performance.now(), Number.POSITIVE_INFINITY);
  };
  for (let i = 0; i < 20; i++) round();
  assert.ok(runtime.isMirrored);
  assert.ok(existsSync(`${home}/replica/.standin`), "the private area lies inside");

  writeFileSync(`${home}/replica/.standin/aside/ballast`, Buffer.alloc(1_000_000));
  for (let i = 0; i < 8; i++) {
    source.create(`f${i}`);
    source.write(`f${i}`, 0, Buffer.alloc(200_000, i));
  }
  source.rename("f7", "g7");
  round();
  assert.equal(runtime.unavailable?.code, "REPLICA_FULL");
  const stuckAt = ring.applied;
  assert.equal(round(), 0);
  assert.equal(ring.applied, stuckAt);

  rmSync(`${home}/replica/.standin/aside/ballast`);
  round();
  assert.equal(runtime.unavailable, undefined);
  assert.equal(ring.applied, ring.head);
  runtime.applier.replica.flush();
  const differences = compareTrees(`${home}/source`, `${home}/replica`);
  assert.deepEqual(differences, ["/.standin: only on the replica"]);
  runtime.applier.replica.closeAll();
});
