/** One way to keep a copy of a folder on another server, as its administrator would set it up. */
import { closeSync, mkdirSync, openSync } from "node:fs";

import type { Side, Stage } from "./stage.ts";

export interface Place {
  readonly stage: Stage;
  readonly source: string;
  /** A folder of this run for configuration, state, logs and the copy; on the source's disk. */
  readonly home: string;
}

export interface Running {
  /** Where the copy lies; may not be there yet. */
  readonly copy: string;
  /** Why the contender itself says that the copy is not whole now; null: it says nothing. */
  warning?(): Promise<string | null>;
  /** Stops it as an administrator does, and gives the source back. */
  stop(): Promise<void>;
}

export interface Contender {
  readonly name: string;
  /** What is not as it comes. */
  readonly settings: string;
  version(): Promise<string>;
  /** Both ends, the copy's first. Answers when they were started, not when the copy is complete. */
  start(place: Place): Promise<Running>;
}

/** Names that a contender keeps in the folders for itself. */
export const OWN_NAMES = /^(?:\.stfolder|\.syncthing\..*\.tmp|~syncthing~.*\.tmp)$/;

export function folderIn(place: Place, name: string): string {
  const folder = `${place.home}/${name}`;
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Starts a program that stays; its output is in `NAME.log` of the run's home. */
export function startLogged(place: Place, side: Side, name: string, command: readonly string[]) {
  const log = openSync(`${place.home}/${name}.log`, "a");
  try {
    const [file = "false", ...args] = command;
    return side.start(log, file, ...args);
  } finally {
    closeSync(log);
  }
}
