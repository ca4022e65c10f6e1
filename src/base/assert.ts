import { AssertionError } from "./errors.ts";

/**
 * States an invariant. Stays on in production: going on with a broken invariant can corrupt a
 * replica, stopping can not.
 *
 * Split `assert(a && b)` into two, so that the failure tells which of them broke. The message is a
 * function where building it would cost something on a hot path.
 */
export function assert(condition: unknown, message: string | (() => string)): asserts condition {
  if (condition) return;
  throw new AssertionError(typeof message === "string" ? message : message());
}

/**
 * Marks a branch that the types say cannot be reached, so that a new member of a union is a type
 * error at each switch that forgot it. Still throws: values from the wire or disk can lie.
 */
export function unreachable(value: never, what = "value"): never {
  throw new AssertionError(`unexpected ${what}: ${describe(value)}`);
}

function describe(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value); // cyclic, or holds a bigint
  }
}
