/** The checkers can fail: each planted fault is found, and by whom it should be. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { PLANTED_FAULTS, partsWith } from "./planted-faults.ts";
import { simulate } from "./simulation.ts";

/** Within so many seeds each must be found; most are in the first ten. */
const SEEDS_MAX = 150;

for (const [name, fault] of Object.entries(PLANTED_FAULTS)) {
  test(`finds a peer that ${name}`, async (t) => {
    for (let seed = 1; seed <= SEEDS_MAX; seed++) {
      const { failure } = await simulate(seed, {
        parts: partsWith(fault),
        without: fault.without ?? [],
        config: { logKind: "model", ...fault.config },
      });
      if (failure === undefined) continue;
      if (failure.checker === "liveness" && fault.mayHang === true) continue;
      assert.ok(fault.finders.includes(failure.checker), failure.message);
      t.diagnostic(`seed ${seed}: ${failure.message.split("\n")[0]}`);
      return;
    }
    assert.fail(`not found with ${SEEDS_MAX} seeds`);
  });
}
