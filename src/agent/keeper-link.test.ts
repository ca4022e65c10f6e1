import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import { test } from "node:test";

import type { KeeperEvent } from "../capture/keeper-config.ts";
import { systemClock } from "../platform/clock.ts";
import { makeTemporaryFolder, removeTree } from "../platform/files.ts";
import { KeeperLink } from "./keeper-link.ts";
import { StateDirectory } from "./state-directory.ts";

test("KeeperLink reads each report once, also those of the next instance's shorter file", (t) => {
  const folder = makeTemporaryFolder("standin-keeper-link-");
  t.after(() => removeTree(folder));
  const state = StateDirectory.create(folder);
  const heard: KeeperEvent[] = [];
  const link = new KeeperLink(state, systemClock, (event) => heard.push(event));
  const report = (line: string): void => appendFileSync(state.keeperEvents, line);
  link.poll();
  report('{"event":"mounted","path":"/first"}\n{"event":"mounted","pa');
  link.poll();
  report('th":"/second"}\n');
  link.poll();
  link.poll();
  link.forget();
  report('{"event":"unmounted","asked":true}\n');
  link.poll();
  link.note({ event: "failed", message: "noted" });
  assert.deepEqual(heard, [
    { event: "mounted", path: "/first" },
    { event: "mounted", path: "/second" },
    { event: "unmounted", asked: true },
    { event: "failed", message: "noted" },
  ]);
});
