/**
 * Which paths below a protected folder are copied. A list of include and exclude patterns; the
 * first that matches decides, and what none matches is included (or, when only what matches is
 * wanted, files are excluded and folders are searched: see {@link rulesOfLists}). What lies below
 * an excluded directory is excluded with it, whatever patterns say about it: to include `/a/b` and
 * nothing else of `/a`, write `include /a/b`, `exclude /a/*`.
 *
 * Patterns are those that rsync and git have made familiar:
 *
 *     *        any run of bytes but `/`          ?       one byte but `/`
 *     **       any run of bytes                  [a-z]   a byte of a set; [!a-z], [^a-z]: not
 *     \x       the byte x itself
 *     /…       a leading slash, or one in the middle, ties the pattern to the folder
 *     …/       a trailing slash makes it match directories alone
 *
 * A pattern without a slash (but a trailing one) is matched against the last name of the path.
 * Names are bytes: patterns are matched byte by byte, and a pattern written in UTF-8 matches names
 * that hold the same bytes.
 */
import { StandinError } from "../base/errors.ts";

export interface Rule {
  readonly kind: "include" | "exclude";
  readonly pattern: string;
}

/** A pattern cannot be understood. */
export class RuleError extends StandinError {
  override readonly name = "RuleError";

  constructor(message: string) {
    super("RULE_INVALID", message);
  }
}

/** What becomes of a path that no rule matches. */
export type Otherwise = "include" | "exclude files";

/**
 * Rules from two plain lists: what an exclude pattern matches is left out; with include patterns,
 * of the rest only the files are copied that one of them matches, or that lie in a folder that one
 * of them matches.
 *
 * @throws {RuleError}
 */
export function rulesOfLists(include: readonly string[], exclude: readonly string[]): Rules {
  const excludes = exclude.map((pattern) => ({ kind: "exclude", pattern }) as const);
  const includes = include.map((pattern) => ({ kind: "include", pattern }) as const);
  return new Rules([...excludes, ...includes], includes.length > 0 ? "exclude files" : "include");
}

interface CompiledRule {
  readonly excludes: boolean;
  readonly directoriesOnly: boolean;
  /** Matched against the whole path, else against the last name. */
  readonly wholePath: boolean;
  readonly regexp: RegExp;
}

export class Rules {
  readonly #rules: readonly CompiledRule[];
  readonly #otherwise: Otherwise;
  /** Whether the verdict on a path can change when a directory above it is renamed. */
  readonly dependOnPath: boolean;

  /** @throws {RuleError} */
  constructor(rules: readonly Rule[], otherwise: Otherwise = "include") {
    this.#rules = rules.map(compile);
    this.#otherwise = otherwise;
    this.dependOnPath = otherwise !== "include" || this.#rules.some((rule) => rule.wholePath);
  }

  get isEmpty(): boolean {
    return this.#rules.length === 0;
  }

  /**
   * Whether the entry itself is excluded, given that the directory it stands in is not. `path`:
   * from the protected folder, without a leading slash.
   */
  excludes(path: Uint8Array, isDirectory: boolean): boolean {
    if (this.#rules.length === 0) return false;
    const whole = Buffer.from(path.buffer, path.byteOffset, path.length).toString("latin1");
    const verdict = this.#verdict(whole, isDirectory);
    if (verdict !== undefined) return verdict;
    return this.#otherwise !== "include" && !isDirectory && !this.#isInIncluded(whole);
  }

  /** Undefined when no rule matches. */
  #verdict(path: string, isDirectory: boolean): boolean | undefined {
    const name = path.slice(path.lastIndexOf("/") + 1);
    for (const rule of this.#rules) {
      if (rule.directoriesOnly && !isDirectory) continue;
      if (rule.regexp.test(rule.wholePath ? path : name)) return rule.excludes;
    }
    return undefined;
  }

  #isInIncluded(path: string): boolean {
    for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
      if (this.#verdict(path.slice(0, end), true) === false) return true;
    }
    return false;
  }
}

function compile(rule: Rule): CompiledRule {
  let pattern = Buffer.from(rule.pattern, "utf8").toString("latin1");
  const directoriesOnly = pattern.endsWith("/");
  if (directoriesOnly) pattern = pattern.slice(0, -1);
  const wholePath = pattern.includes("/");
  if (pattern.startsWith("/")) pattern = pattern.slice(1);
  if (pattern === "") throw new RuleError(`the pattern "${rule.pattern}" matches nothing`);
  const regexp = new RegExp(`^${globSource(pattern, rule.pattern)}$`, "s");
  return { excludes: rule.kind === "exclude", directoriesOnly, wholePath, regexp };
}

function globSource(pattern: string, shown: string): string {
  let source = "";
  for (let i = 0; i < pattern.length; ) {
    const [text, length] = globPiece(pattern, i, shown);
    source += text;
    i += length;
  }
  return source;
}

/**
 * Source of a regular expression for what starts at `i`, and how many characters of the pattern it
 * stands for.
 */
function globPiece(pattern: string, i: number, shown: string): [string, number] {
  const rest = pattern.slice(i);
  if (rest.startsWith("**/")) return ["(?:.*/)?", 3];
  if (rest.startsWith("**")) return [".*", 2];
  const c = rest[0] as string;
  if (c === "*") return ["[^/]*", 1];
  if (c === "?") return ["[^/]", 1];
  if (c === "[") return globSet(rest, shown);
  if (c !== "\\") return [quote(c), 1];
  if (rest.length < 2) throw new RuleError(`the pattern "${shown}" ends in a backslash`);
  return [quote(rest[1] as string), 2];
}

function globSet(rest: string, shown: string): [string, number] {
  const negated = rest[1] === "!" || rest[1] === "^";
  const start = negated ? 2 : 1;
  // A `]` that comes first stands for itself.
  const end = rest.indexOf("]", start + 1);
  if (end === -1) throw new RuleError(`the pattern "${shown}" has a [ without its ]`);
  const body = rest.slice(start, end).replace(/[\\\]^[]/g, "\\$&");
  const source = negated ? `[^/${body}]` : `(?!/)[${body}]`;
  try {
    new RegExp(source);
  } catch (error) {
    throw new RuleError(`the pattern "${shown}" has a bad set: ${(error as Error).message}`);
  }
  return [source, end + 1];
}

function quote(character: string): string {
  return character.replace(/[.*+?^${}()|[\]\\/]/, "\\$&");
}
