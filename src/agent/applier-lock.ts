/**
 * Two appliers must never work on one ring. An agent ends the one that it knows of; but an agent
 * that was killed between the start of an applier and the note of it has left one that nobody
 * knows. So each applier takes a lock that lives as long as it does, and ends who holds it.
 */
import { StandinError } from "../base/errors.ts";
import type { Clock } from "../platform/clock.ts";
import { FileLock } from "../platform/file-lock.ts";
import { readJsonIfPresent, writeFileAtomic } from "../platform/files.ts";
import { identify, type ProcessIdentity, sendSignal } from "../platform/processes.ts";

const WAIT_MS_MAX = 10_000;
const POLL_MS = 5;

/** Settles when no other applier works on the ring in `shmDir`. @throws {StandinError} */
export async function takeApplierLock(shmDir: string, clock: Clock): Promise<FileLock> {
  const path = `${shmDir}/applier.lock`;
  const holderPath = `${shmDir}/applier.json`;
  const endMs = clock.monotonicMs() + WAIT_MS_MAX;
  for (;;) {
    const lock = FileLock.tryAcquire(path);
    if (lock !== undefined) {
      writeFileAtomic(holderPath, JSON.stringify(identify(process.pid)));
      return lock;
    }
    const holder = readJsonIfPresent(holderPath) as Partial<ProcessIdentity> | undefined;
    // It may not have said yet who it is; who held the lock before is dead.
    if (isIdentity(holder)) sendSignal(holder, "SIGKILL");
    if (clock.monotonicMs() > endMs) {
      throw new StandinError("APPLIER_RUNNING", `another applier works in ${shmDir}`, {
        hint: `End the process that holds ${path} (fuser names it); the agent then tries again.`,
      });
    }
    await clock.sleep(POLL_MS);
  }
}

function isIdentity(value: Partial<ProcessIdentity> | undefined): value is ProcessIdentity {
  return typeof value?.pid === "number" && typeof value.startTicks === "number";
}
