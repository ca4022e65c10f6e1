/** A protected folder in which applications work, and its replica. */
import assert from "node:assert/strict";
import { chmodSync } from "node:fs";
import type { TestContext } from "node:test";

import { LocalRun } from "./local-run.ts";
import { Servers } from "./two-servers.ts";

const MINUTE_MS = 60_000;

export interface WorkloadSide {
  /** Of which the protected folder is a part. */
  readonly folder: string;
  readonly source: string;
  readonly replica: () => string;
  readonly flush: () => Promise<void>;
  /** Compares while the folder is in use. How many files differ. */
  readonly verify: () => Promise<number>;
  /** It was protected to the last; unmounts. What was replicated, in words. */
  readonly end: () => Promise<string>;
  /** Runs `stop` at the end of the test, passed or failed, while the folder is still there. */
  readonly beforeEnd: (stop: () => unknown) => void;
}

/** What runs before all that is registered with `t.after` from now on, the last of it first. */
function stopsOf(t: TestContext): WorkloadSide["beforeEnd"] {
  const stops: (() => unknown)[] = [];
  t.after(async () => {
    for (const stop of stops.toReversed()) {
      try {
        await stop();
      } catch (error) {
        // The runner would skip all that is to be cleared behind it.
        t.diagnostic(`not stopped: ${(error as Error).message}`);
      }
    }
  });
  return (stop) => stops.push(stop);
}

export async function localSide(t: TestContext): Promise<WorkloadSide> {
  const beforeEnd = stopsOf(t);
  const run = new LocalRun();
  t.after(() => run.clear());
  // Other users must reach what is theirs below.
  chmodSync(run.folder, 0o755);
  run.start("--ring", "256M");
  await run.waitFor("mirrored", MINUTE_MS);
  return {
    folder: run.folder,
    source: run.source,
    replica: () => run.replica,
    flush: async () => {
      const { code, stderr } = run.command("flush", "--timeout", "55");
      assert.equal(code, 0, stderr);
    },
    verify: async () => {
      const { stdout } = run.command("verify", "--json");
      return Number((JSON.parse(stdout) as Record<string, unknown>).different);
    },
    end: async () => {
      const { totals, queue, reasons, protected: isProtected } = run.status();
      assert.equal(isProtected, true, JSON.stringify(reasons));
      assert.equal(await run.stop(), 0);
      return `${totals.ops} ops, ${totals.bytes} bytes, ${queue.gaps} gaps`;
    },
    beforeEnd,
  };
}

export async function serversSide(t: TestContext): Promise<WorkloadSide> {
  const beforeEnd = stopsOf(t);
  const servers = await Servers.start(t, 2, { isolated: true });
  chmodSync(servers.home, 0o755);
  await servers.protect("--ring", "256M");
  return {
    folder: servers.home,
    source: servers.folder,
    replica: () => servers.replica(),
    flush: async () => servers.flush(),
    verify: async () => {
      const { targets } = servers.source.json("verify", "data") as {
        targets: readonly { readonly different?: number }[];
      };
      return targets.reduce((sum, { different = 0 }) => sum + different, 0);
    },
    end: async () => {
      const { lsn, reasons, protected: isProtected } = servers.status();
      assert.equal(isProtected, true, JSON.stringify(reasons));
      const replica = servers.replicaStatus();
      assert.equal(servers.source.command("unprotect", "data").code, 0);
      assert.equal(servers.isMounted(), false);
      return `${lsn} ops, ${replica.appliedLsn} applied`;
    },
    beforeEnd,
  };
}
