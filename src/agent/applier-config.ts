/**
 * What the applier process is told at its start: a JSON file, or the JSON itself, as its only
 * argument.
 */
import { StandinError } from "../base/errors.ts";
import { type Rule, Rules, rulesOfLists } from "../model/rules.ts";
import { readTextIfPresent } from "../platform/files.ts";

export interface ApplierMount {
  readonly index: number;
  /** Inode number of the protected folder itself, beneath the mount. */
  readonly rootIno: number;
  /** Absolute path of the folder that holds the copy. */
  readonly replica: string;
  /** What reports call the folder; without it they give paths from the folder on. */
  readonly shownAs?: string;
}

/** Ordered rules, or two lists: see `rulesOfLists`. */
export type RulesConfig =
  | readonly Rule[]
  | { readonly include?: readonly string[]; readonly exclude?: readonly string[] };

export interface ApplierConfig {
  /** Holds `ring`; `tree` and `apply` are made there. */
  readonly shmDir: string;
  readonly mounts: readonly ApplierMount[];
  readonly rules?: RulesConfig;
  /**
   * What becomes of files in a replica that its source does not have and that Standin did not copy
   * there. What Standin copied and the source has no more is always removed. Default: "aside".
   */
  readonly orphans?: "keep" | "aside" | "delete";
  /** Where ops come from a log on this machine's disk, of which they can be applied again. */
  readonly checkpoint?: CheckpointConfig;
}

/** Checkpoints of what the applier keeps in memory; see checkpoint.ts. */
export interface CheckpointConfig {
  /** The file. */
  readonly path: string;
  /** Of the source: a checkpoint of another stream is none. */
  readonly stream: string;
  /** Default 60,000. */
  readonly everyMs?: number;
  /** Of ops applied. Default 256 MiB. */
  readonly everyBytes?: number;
}

/** The configuration is missing or malformed. */
export class ApplierConfigError extends StandinError {
  override readonly name = "ApplierConfigError";

  constructor(message: string) {
    super("APPLIER_CONFIG", message);
  }
}

/** @throws {ApplierConfigError} */
export function readApplierConfig(argument: string | undefined): ApplierConfig {
  if (argument === undefined) throw new ApplierConfigError("no configuration was given");
  const text = argument.startsWith("{") ? argument : readTextIfPresent(argument);
  if (text === undefined) throw new ApplierConfigError(`there is no file ${argument}`);
  let value: Partial<ApplierConfig>;
  try {
    value = JSON.parse(text) as Partial<ApplierConfig>;
  } catch (error) {
    throw new ApplierConfigError(`the configuration is no JSON: ${(error as Error).message}`);
  }
  if (typeof value.shmDir !== "string") throw new ApplierConfigError("shmDir is missing");
  if (!Array.isArray(value.mounts) || value.mounts.length === 0) {
    throw new ApplierConfigError("mounts are missing");
  }
  for (const mount of value.mounts as Partial<ApplierMount>[]) checkMount(mount);
  return value as ApplierConfig;
}

function checkMount(mount: Partial<ApplierMount>): void {
  const { index, rootIno, replica } = mount;
  if (!Number.isSafeInteger(index)) throw new ApplierConfigError("a mount has no index");
  if (!Number.isSafeInteger(rootIno)) throw new ApplierConfigError("a mount has no rootIno");
  if (typeof replica !== "string" || !replica.startsWith("/")) {
    throw new ApplierConfigError("a mount has no absolute path of its replica");
  }
}

/** @throws {RuleError} */
export function rulesOf(config: RulesConfig | undefined): Rules {
  if (config === undefined) return new Rules([]);
  if (isRuleList(config)) return new Rules(config);
  return rulesOfLists(config.include ?? [], config.exclude ?? []);
}

function isRuleList(config: RulesConfig): config is readonly Rule[] {
  return Array.isArray(config);
}
