/** What the kernel's refusals on the replica mean. */
import { StandinError } from "../base/errors.ts";
import {
  EDQUOT,
  EEXIST,
  EFBIG,
  EINVAL,
  EISDIR,
  ELOOP,
  ENAMETOOLONG,
  ENODATA,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ENOTEMPTY,
  ENOTTY,
  ENXIO,
  EOPNOTSUPP,
  EPERM,
  ERANGE,
  ESTALE,
  EXDEV,
} from "../platform/errno.ts";

const EMLINK = 31;
const E2BIG = 7;

const FULL = "no space left on the replica";
const FULL_HINT =
  "Free space on the replica's file system, or enlarge it; applying goes on by itself. " +
  "Nothing is lost meanwhile.";
const FAILED_HINT =
  "Look at the kernel's log and at the replica's disk; applying goes on by itself when it works.";

/**
 * The replica cannot take the op now, for a reason that has nothing to do with the op. It stays
 * where it is and is tried again until the reason has gone.
 */
export class ReplicaUnavailableError extends StandinError {
  override readonly name = "ReplicaUnavailableError";
  readonly errno: number;
  readonly isFull: boolean;

  constructor(action: string, errno: number) {
    const isFull = errno === ENOSPC || errno === EDQUOT;
    super(
      isFull ? "REPLICA_FULL" : "REPLICA_FAILED",
      `${action}: ${isFull ? FULL : `the replica fails with errno ${errno}`}`,
      {
        hint: isFull ? FULL_HINT : FAILED_HINT,
      },
    );
    this.errno = errno;
    this.isFull = isFull;
  }
}

/**
 * The replica is not as it should be (somebody changed it, or a mirror has not come so far): to be
 * asked for again.
 */
const DIVERGED: ReadonlySet<number> = new Set([
  ENOENT,
  ENOTDIR,
  EISDIR,
  ELOOP,
  EEXIST,
  ENOTEMPTY,
  ESTALE,
  EXDEV,
  ENXIO,
]);

/** The replica's file system cannot hold this, now or later. */
const UNSUPPORTED: ReadonlySet<number> = new Set([
  EPERM,
  EINVAL,
  EOPNOTSUPP,
  ENOTTY,
  EFBIG,
  EMLINK,
  ENAMETOOLONG,
  ENODATA,
  ERANGE,
  E2BIG,
]);

export type Refusal = "diverged" | "unsupported";

/** @throws {ReplicaUnavailableError} unless the refusal is one that the job can go on with. */
export function refusalOf(action: string, errno: number): Refusal {
  if (DIVERGED.has(errno)) return "diverged";
  if (UNSUPPORTED.has(errno)) return "unsupported";
  throw new ReplicaUnavailableError(action, errno);
}
