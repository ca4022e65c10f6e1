import { StandinError } from "../base/errors.ts";

/**
 * The tree's file is not what it should be: of another version, or not finished by a killed
 * process.
 */
export class TreeError extends Error {
  override name = "TreeError";
}

/** More files than the tree was made for, or no shared memory left on this machine. */
export class TreeFullError extends StandinError {
  override readonly name = "TreeFullError";

  constructor(message: string) {
    super("TREE_FULL", message, {
      hint: "Give the machine more memory or /dev/shm a larger size, or protect fewer files.",
    });
  }
}
