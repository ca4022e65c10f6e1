/** What this machine has. */
import { availableParallelism, release } from "node:os";

export function processorCount(): number {
  return availableParallelism();
}

/** The running kernel, such as `6.18.0-1-amd64`. */
export function kernelRelease(): string {
  return release();
}
