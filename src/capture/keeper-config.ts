import type { ProcessIdentity } from "../platform/processes.ts";

export interface KeeperMount {
  readonly index: number;
  /** Absolute path of the folder to protect. */
  readonly path: string;
  /** Whether set-user-ID bits and devices are ignored, as on the file system beneath. */
  readonly nosuid: boolean;
  readonly nodev: boolean;
}

/** What the agent hands to the keeper, as JSON in its only argument. */
export interface KeeperConfig {
  readonly shmDir: string;
  readonly mounts: readonly KeeperMount[];
  readonly workers: number;
  /** See the engine's configuration. */
  readonly recordCopies: boolean;
  /**
   * The engine of a keeper that was killed: it still holds the connections, and the new keeper
   * takes them from it. Null: the folders are not mounted yet.
   */
  readonly adopt: ProcessIdentity | null;
}

/** What the keeper reports, one JSON object a line. The engine's own lines go the same way. */
export type KeeperEvent =
  | ({ readonly event: "keeper-started" } & ProcessIdentity)
  | { readonly event: "mounted"; readonly path: string }
  | { readonly event: "adopted"; readonly pid: number }
  | ({ readonly event: "engine-started" } & ProcessIdentity)
  | { readonly event: "serving"; readonly pid?: number }
  | {
      readonly event: "engine-died";
      readonly pid: number;
      readonly code: number | null;
      readonly signal: string | null;
      readonly livedMs: number;
    }
  /** Somebody had unmounted it; changes made meanwhile were not captured. */
  | { readonly event: "remounted"; readonly path: string }
  | { readonly event: "busy"; readonly path: string }
  | { readonly event: "detached"; readonly path: string }
  | { readonly event: "unmounted"; readonly asked: boolean }
  | { readonly event: "gave-up"; readonly deaths: number }
  | { readonly event: "failed"; readonly message: string; readonly hint?: string };

/** Exit codes of the keeper. */
export const KeeperExit = {
  /** Unmounted because it was told to. */
  unmounted: 0,
  /** Could not mount or adopt; the last `failed` event says why. */
  failed: 1,
  /** The connection ended without being asked: somebody unmounted the folder. */
  lost: 3,
  /**
   * The engine died again and again, and the mount was taken away so that the folder can be used.
   */
  gaveUp: 4,
} as const;

/**
 * Left in the shared memory folder by an agent that stops while files of the detached mount are
 * still open: the keeper serves them to the end, and then removes the folder.
 */
export const REMOVE_WHEN_DONE = "remove-when-done";
