/**
 * How often the ops of a ring were carried out, as the appliers that worked on it counted it
 * together, in memory that outlives them: each counts an op when it begins with it.
 *
 * An op that is begun twice is counted twice, whatever the reason. The only good one is that an
 * applier was killed with the op in hand: its successor begins with it again, and recognizes what
 * was done (docs/decisions/0003-applied-position.md). So there are no more repeats than deaths.
 */
import assert from "node:assert/strict";

import { ApplyMemory, Counter } from "../../src/apply/apply-memory.ts";
import { Ring } from "../../src/journal/ring.ts";
import { HeaderAt } from "../../src/journal/ring-layout.ts";

export interface OpAccount {
  /** The count begins behind this LSN. */
  readonly behind: number;
  readonly applied: number;
  readonly begun: number;
  /** Ops that were begun once more than once. */
  readonly repeats: number;
  /** Ops that found another state than the one that they were made for: a rename without a file. */
  readonly diverged: number;
  /** The passes so far: a first copy is one, and each comparison that mends is one more. */
  readonly passes: number;
  readonly gaps: number;
}

/** `shmDir`: of the side that applies. */
export function readOpAccount(shmDir: string): OpAccount {
  const ring = Ring.open(`${shmDir}/ring`);
  const memory = ApplyMemory.open(`${shmDir}/apply`);
  assert.ok(memory, "the appliers' memory can be read");
  const { applied } = ring;
  const behind = memory.get(Counter.opsBegunBehind);
  const begun = memory.get(Counter.opsBegun);
  const account = {
    behind,
    applied,
    begun,
    repeats: begun - (applied - behind),
    diverged: memory.get(Counter.diverged),
    passes: memory.get(Counter.pass),
    gaps: ring.word(HeaderAt.gaps),
  };
  ring.close();
  memory.close();
  return account;
}

/**
 * No op was applied twice, and none was left out. `deaths`: appliers that were killed, or more.
 * Call it when nothing is written.
 */
export function assertEachOnce(account: OpAccount, deaths: number): void {
  const shown = `${JSON.stringify(account)}, ${deaths} deaths`;
  assert.ok(account.begun > 0, `something was counted: ${shown}`);
  assert.ok(account.repeats >= 0, `each op was begun: ${shown}`);
  assert.ok(account.repeats <= deaths, `only an op in hand is begun again: ${shown}`);
  assert.equal(account.diverged, 0, `each op found the state that it was made for: ${shown}`);
}
