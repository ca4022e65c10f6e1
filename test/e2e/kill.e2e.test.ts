/**
 * The engine, the applier and the keeper are killed again and again while applications work: they
 * must see no error and no long pause, what they wrote must be there, and the copy must be equal.
 *
 * STANDIN_KILLS: how often each is killed (100 for the acceptance), STANDIN_SEED.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Prng } from "../../src/base/prng.ts";
import { HeaderAt } from "../../src/journal/ring-layout.ts";
import { skipUnless } from "../support/capabilities.ts";
import { compareTrees } from "../support/compare-trees.ts";
import { Load, type LoadResult } from "../support/load.ts";
import { ProtectedFolder } from "../support/protected-folder.ts";

const skip = skipUnless("root", "fuse", "fuse-resend");
const KILLS = Number(process.env.STANDIN_KILLS ?? 8);
const SEED = Number(process.env.STANDIN_SEED ?? 1);
const timeout = 120_000 + KILLS * 10_000;

async function underLoad(
  t: TestContext,
  disturb: (folder: ProtectedFolder, prng: Prng) => Promise<void>,
): Promise<void> {
  t.diagnostic(`STANDIN_KILLS=${KILLS} STANDIN_SEED=${SEED}`);
  const folder = await ProtectedFolder.start({ replica: true, ringBytes: 2 ** 30 });
  t.after(() => folder.remove());
  const load = await Load.start(t, folder.path, folder.home, SEED);
  await disturb(folder, new Prng(SEED));
  let result: LoadResult;
  try {
    result = await load.stop();
  } catch (error) {
    t.diagnostic(`${folder.log()}\n${JSON.stringify(folder.events().slice(-12))}`);
    throw error;
  }
  t.diagnostic(result.shown);
  await folder.flush(60_000);
  assert.equal(folder.ring.word(HeaderAt.gaps), 0, "no gap");
  assert.deepEqual(
    compareTrees(folder.beneath, folder.path),
    [],
    "the mount shows what is beneath",
  );
  assert.deepEqual(compareTrees(folder.beneath, folder.replica), [], "the copy is equal");
  assert.deepEqual(folder.notices(), [], "nothing had to be mended");
  assert.ok(result.longestMs <= result.allowedMs, result.shown);
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
