/**
 * The engine, the applier and the keeper are killed again and again while applications work: they
 * must see no error and no long pause, what they wrote must be there, and the copy must be equal.
 *
 * STANDIN_KILLS: how often each is killed (100 for the acceptance), STANDIN_SEED.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Prng } from "../../src/base/prng.ts";
import { HeaderAt } from "../../src/journal/ring-layout.ts";
import { skipUnless } from "../support/capabilities.ts";
import { Application, type ApplicationResult } from "../support/application.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { ProtectedFolder } from "../support/protected-folder.ts";

const skip = skipUnless("root", "fuse", "fuse-resend");
const KILLS = Number(process.env.STANDIN_KILLS ?? 8);
const SEED = Number(process.env.STANDIN_SEED ?? 1);
const APPLICATIONS = 3;
const PAUSE_MS_MAX = 1000;
/** What starting Node takes at most on a quiet machine. */
const QUIET_START_MS = 150;
const timeout = 120_000 + KILLS * 10_000;

/**
 * How much slower this machine is now than one that has nothing else to do: a new engine is a new
 * process, and cannot be quicker than others.
 */
function slowness(): number {
  const startMs = performance.now();
  spawnSync(process.execPath, ["-e", "0"]);
  return Math.max(1, (performance.now() - startMs) / QUIET_START_MS);
}

/** Applications on the mount, and one on a bare folder: what it waits for is not our doing. */
async function underLoad(
  t: TestContext,
  disturb: (folder: ProtectedFolder, prng: Prng) => Promise<void>,
): Promise<void> {
  const bare = mkdtempSync(join(tmpdir(), "standin-bare-"));
  const folder = await ProtectedFolder.start({ replica: true, ringBytes: 2 ** 30 });
  const log = (name: string) => join(folder.home, `${name}.out`);
  const applications = Array.from(
    { length: APPLICATIONS },
    (_, i) => new Application(join(folder.path, `app-${i}`), SEED * 100 + i, log(`app-${i}`)),
  );
  const control = new Application(join(bare, "app"), SEED * 100 + 99, log("control"));
  t.after(async () => {
    for (const each of [...applications, control]) each.kill();
    await folder.remove();
    rmSync(bare, { recursive: true, force: true });
  });
  for (const each of [...applications, control]) await each.ready();
  const before = slowness();
  await disturb(folder, new Prng(SEED));
  const allowedMs = PAUSE_MS_MAX * Math.max(before, slowness());
  let results: ApplicationResult[];
  try {
    results = await Promise.all(applications.map((each) => each.stop()));
  } catch (error) {
    t.diagnostic(`${folder.log()}\n${JSON.stringify(folder.events().slice(-12))}`);
    throw error;
  }
  const bareResult = await control.stop();
  const longest = results.reduce((a, b) => (a.longestMs > b.longestMs ? a : b));
  const ops = results.reduce((sum, each) => sum + each.ops, 0);
  t.diagnostic(
    `${ops} operations, longest pause ${Math.round(longest.longestMs)} ms (${longest.longest}), ` +
      `bare ${Math.round(bareResult.longestMs)} ms, allowed ${Math.round(allowedMs)} ms`,
  );
  await folder.flush(60_000);
  assert.equal(folder.ring.word(HeaderAt.gaps), 0, "no gap");
  assert.deepEqual(
    compareTrees(folder.beneath, folder.path),
    [],
    "the mount shows what is beneath",
  );
  assert.deepEqual(compareTrees(folder.beneath, folder.replica), [], "the copy is equal");
  assert.deepEqual(folder.notices(), [], "nothing had to be mended");
  assert.ok(longest.longestMs <= allowedMs + bareResult.longestMs, JSON.stringify(results));
}

test(`the engine is killed ${KILLS} times`, { skip, timeout }, async (t) => {
  await underLoad(t, async (folder, prng) => {
    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(300 + prng.int(1400));
      await folder.replaceEngine();
    }
    await sleep(300);
  });
});

test(`the applier is killed ${KILLS} times`, { skip, timeout }, async (t) => {
  await underLoad(t, async (folder, prng) => {
    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(300 + prng.int(1400));
      await folder.replaceApplier();
    }
    await sleep(300);
  });
});

test(`the keeper is killed ${Math.ceil(KILLS / 4)} times`, { skip, timeout }, async (t) => {
  await underLoad(t, async (folder, prng) => {
    for (let kill = 0; kill < KILLS / 4; kill++) {
      await sleep(300 + prng.int(1400));
      await folder.replaceKeeper();
    }
    await sleep(300);
  });
});

test(`all of them are killed, ${KILLS} times in turn`, { skip, timeout }, async (t) => {
  await underLoad(t, async (folder, prng) => {
    for (let kill = 0; kill < KILLS; kill++) {
      await sleep(300 + prng.int(1400));
      const what = prng.pick(["engine", "engine", "applier", "both", "keeper"] as const);
      if (what === "keeper") await folder.replaceKeeper();
      if (what === "both") folder.killEngine();
      if (what === "applier" || what === "both") await folder.replaceApplier();
      if (what === "engine") await folder.replaceEngine();
    }
    await sleep(500);
  });
});
