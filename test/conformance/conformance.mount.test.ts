/**
 * Everything that a POSIX application does, done on the file system beneath and on the mount: the
 * results must be the same, and the copy must be the same as the source afterwards.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { LoopImage } from "../support/loop-image.ts";
import { F_RDLCK, F_SETLK, F_WRLCK, flock, LOCK_EX, recordLock } from "../support/more-calls.ts";
import { ProtectedFolder } from "../support/protected-folder.ts";

const RUNNER = join(import.meta.dirname, "run-cases.ts");
const CASES_TIMEOUT_MS = 60_000;

/**
 * Where the mount differs, and why. Each must still differ: what has been mended is to be struck
 * out here.
 */
const DIFFERENT: ReadonlyMap<string, string> = new Map([
  ["fallocate: COLLAPSE_RANGE, as root", "the kernel's FUSE client refuses it"],
  ["fallocate: INSERT_RANGE, as root", "the kernel's FUSE client refuses it"],
  ["an ioctl that only ext4 knows, as root", "FIEMAP tells disk addresses, which FUSE has not"],
  ["O_DIRECT: not aligned, as root", "done through the cache, which takes any alignment"],
  [
    "security.capability stays when the file is written through a map, as root",
    "what a map changes is written beneath like any other write",
  ],
  [
    "chown of nothing by others who may write, as nobody",
    "the kernel sends the same request before a write, which must take set-ID bits away",
  ],
  ["rmdir of an open directory, as root", "a directory that is gone is not kept"],
  ["unlink of an open fifo, as root", "of nodes that are gone only regular files are kept"],
  ["inode flags: an immutable file is not opened for writing, as root", "FUSE asks at the write"],
]);

type Results = Record<string, unknown>;

function runCases(folder: string): Results {
  const results: Results = {};
  for (const user of ["root", "nobody"]) {
    const args = [RUNNER, folder, user];
    const { stdout, stderr, status, error } = spawnSync(process.execPath, args, {
      timeout: CASES_TIMEOUT_MS,
      killSignal: "SIGKILL",
      maxBuffer: 64 << 20,
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`${user}: ${error?.message ?? stderr}`);
    Object.assign(results, JSON.parse(stdout));
  }
  return results;
}

const skip = skipUnless("root", "fuse", "loop-devices", "command:mkfs.ext4");

describe("conformance", { skip }, () => {
  let image: LoopImage;
  let folder: ProtectedFolder;
  let bare: Results;
  let mounted: Results;

  before(async () => {
    image = new LoopImage();
    mkdirSync(join(image.path, "bare"));
    bare = runCases(join(image.path, "bare"));
    folder = await ProtectedFolder.start({ under: image.path, replica: true });
    mkdirSync(join(folder.path, "cases"));
    mounted = runCases(join(folder.path, "cases"));
  });
  after(async () => {
    await folder?.remove();
    image?.remove();
  });

  test("the mount gives the results of the file system beneath", async (t) => {
    assert.deepEqual(Object.keys(mounted), Object.keys(bare));
    for (const [name, expected] of Object.entries(bare)) {
      await t.test(name, () => {
        assert.doesNotMatch(JSON.stringify(expected), /^"threw/);
        const why = DIFFERENT.get(name);
        if (why === undefined) assert.deepEqual(mounted[name], expected);
        else assert.notDeepEqual(mounted[name], expected, `it is the same now (${why})`);
      });
    }
  });

  test("no handler threw", () => assert.equal(folder.log(), ""));

  test("what the mount shows is what lies beneath", () => {
    assert.deepEqual(compareTrees(folder.beneath, folder.path), []);
  });

  test("the copy is the same as the source", async () => {
    await folder.flush();
    assert.deepEqual(compareTrees(folder.beneath, folder.replica), []);
    assert.deepEqual(folder.notices(), []);
  });

  test("locks that block hold no worker", async () => {
    const path = join(folder.path, "locked");
    writeFileSync(path, "x".repeat(100));
    const fd = openSync(path, "r+");
    assert.equal(flock(fd, LOCK_EX), 0);
    assert.equal(recordLock(fd, F_SETLK, { type: F_WRLCK, start: 0, length: 0 }), F_WRLCK);
    // Far more than the engine has workers.
    const waiting = Array.from({ length: 24 }, () =>
      spawn("flock", ["-w", "20", path, "true"], { stdio: "ignore" }),
    );
    const ended = waiting.map((child) => new Promise((resolve) => child.once("exit", resolve)));
    try {
      const deadline = performance.now() + 10_000;
      const blocked = () => readFileSync("/proc/locks", "utf8").split("->").length - 1;
      while (blocked() < 24 && performance.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      const startMs = performance.now();
      for (let i = 0; i < 50; i++) writeFileSync(join(folder.path, `free-${i}`), "free");
      assert.ok(performance.now() - startMs < 5000);
      assert.equal(recordLock(fd, F_SETLK, { type: F_RDLCK, start: 0, length: 1 }), F_RDLCK);
      assert.equal(flock(fd, 8), 0);
      assert.deepEqual(await Promise.all(ended), Array(24).fill(0));
    } finally {
      for (const child of waiting) child.kill("SIGKILL");
      closeSync(fd);
    }
  });

  test("it unmounts when the last user is gone", async () => {
    assert.equal(await folder.stop(), 0);
    assert.equal(folder.isMounted(), false);
  });
});
