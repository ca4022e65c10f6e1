/** What `standin local` is asked for. */

export type OrphanPolicy = "keep" | "aside" | "delete";

export interface LocalOptions {
  /** As the operator wrote them; made real and absolute by the preparation. */
  readonly source: string;
  readonly replica: string;
  /** Undefined: one below /var/lib/standin, by the source. */
  readonly stateDirectory: string | undefined;
  readonly include: readonly string[];
  readonly exclude: readonly string[];
  /** What becomes of files in the replica that the source does not have. */
  readonly orphans: OrphanPolicy;
  readonly ringBytes: number;
  /** Undefined: by the number of processors. */
  readonly workers: number | undefined;
  /** Go on although processes have files of the source open whose changes would not be captured. */
  readonly allowOpenFiles: boolean;
}

export interface FileUser {
  readonly pid: number;
  readonly command: string;
  readonly path: string;
}

/** What happens to an instance, for whoever shows it. */
export type LocalEvent =
  | { readonly event: "warning"; readonly code: string; readonly message: string }
  | { readonly event: "mounted"; readonly source: string; readonly adopted: boolean }
  | { readonly event: "mirroring" | "resyncing"; readonly why: string }
  | { readonly event: "mirrored" | "resynced"; readonly [figure: string]: unknown }
  | { readonly event: "lost"; readonly message: string }
  | { readonly event: "restarted"; readonly role: "keeper" | "engine" | "applier" }
  | { readonly event: "busy"; readonly users: readonly FileUser[] }
  | { readonly event: "draining"; readonly message: string }
  | { readonly event: "stopped"; readonly [figure: string]: unknown };

export type LocalListener = (event: LocalEvent) => void;
