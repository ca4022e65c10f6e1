/**
 * How the log fails: LOG_FULL (nothing is lost, it can be tried again), LOG_IO (reopen it),
 * LOG_DAMAGED (bytes on the disk are not what was written), LOG_TRIMMED (asked for what is gone).
 */
import { AssertionError, StandinError } from "../base/errors.ts";

const FULL_CODES: ReadonlySet<unknown> = new Set(["ENOSPC", "EDQUOT"]);

/** `why`: what is at its limit. */
export function logFull(why: string, cause?: unknown): StandinError {
  return new StandinError("LOG_FULL", `the log cannot grow: ${why}`, {
    hint: "Free space on the log's disk or raise the log's limits; it then goes on by itself.",
    cause,
  });
}

/** `doing`: what failed, for example "writing segment 1f.log". */
export function logIo(doing: string, cause: unknown): StandinError {
  return new StandinError("LOG_IO", `${doing} failed: ${reason(cause)}`, {
    hint: "Look for errors of the disk in the kernel's log (dmesg), then start the agent again.",
    cause,
  });
}

export function logDamaged(name: string, what: string): StandinError {
  return new StandinError("LOG_DAMAGED", `segment ${name} of the log is damaged: ${what}`, {
    hint:
      "What follows cannot be trusted, so nothing was changed. Check the disk, move the log's " +
      "folder aside and let a resync bring the replica up to date.",
  });
}

export function logTrimmed(lsn: number): StandinError {
  return new StandinError("LOG_TRIMMED", `LSN ${lsn} is no longer in the log`, {
    hint: "It was removed as no longer needed; a resync brings what it held.",
  });
}

/** LOG_FULL or LOG_IO, by what the system said; what is no error of the system stays as it is. */
export function ioError(error: unknown, doing: string): Error {
  if (error instanceof StandinError || error instanceof AssertionError) return error;
  const isFull = FULL_CODES.has((error as { code?: unknown } | undefined)?.code);
  return isFull ? logFull("its disk is full", error) : logIo(doing, error);
}

export function isLogFull(error: unknown): boolean {
  return error instanceof StandinError && error.code === "LOG_FULL";
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
