/**
 * The first two messages of a connection: its opener says hello, the other side welcomes or refuses
 * it. Both are JSON frames; see frame.ts.
 */

export const PRODUCT = "standin";
/** Of the protocol between agents, the best first. */
export const PROTOCOL_VERSIONS: readonly number[] = [1];

export interface Hello {
  /** Those that the opener speaks, the best first. */
  readonly versions: readonly number[];
  /** Release of its program, for messages. */
  readonly program: string;
  readonly purpose: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

export interface Welcome {
  /** The one that is spoken from now on. */
  readonly version: number;
  readonly program: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

export interface Refusal {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

const VERSIONS_MAX = 64;
const PURPOSE_LENGTH_MAX = 64;

/** Undefined when it is no hello of ours. */
export function parseHello(value: Record<string, unknown>): Hello | undefined {
  const { product, versions, purpose, program } = value;
  if (product !== PRODUCT || typeof purpose !== "string") return undefined;
  if (purpose.length > PURPOSE_LENGTH_MAX) return undefined;
  if (!Array.isArray(versions) || versions.length > VERSIONS_MAX) return undefined;
  if (!versions.every((version) => Number.isSafeInteger(version))) return undefined;
  return { versions, program: textOf(program, "?"), purpose, parameters: objectOf(value) };
}

/** Undefined when it is no welcome of ours. */
export function parseWelcome(value: Record<string, unknown>): Welcome | undefined {
  const { product, version, program } = value;
  if (product !== PRODUCT || !PROTOCOL_VERSIONS.includes(version as number)) return undefined;
  return {
    version: version as number,
    program: textOf(program, "?"),
    parameters: objectOf(value),
  };
}

export function parseRefusal(value: Record<string, unknown>): Refusal {
  const code = textOf(value.code, "UNKNOWN");
  const message = textOf(value.message, "it gave no reason");
  const hint = value.hint;
  return typeof hint === "string" ? { code, message, hint } : { code, message };
}

/** The best version that both speak, or undefined. */
export function negotiate(
  theirs: readonly number[],
  ours: readonly number[] = PROTOCOL_VERSIONS,
): number | undefined {
  return ours.find((version) => theirs.includes(version));
}

function objectOf(value: Record<string, unknown>): Record<string, unknown> {
  const parameters = value.parameters;
  const isObject = typeof parameters === "object" && parameters !== null;
  return isObject && !Array.isArray(parameters) ? (parameters as Record<string, unknown>) : {};
}

function textOf(value: unknown, otherwise: string): string {
  return typeof value === "string" ? value : otherwise;
}
