/** What the thrower of an expected failure knows and the reader needs. */
export interface StandinErrorOptions {
  /** What the operator can do next: a full sentence, or a command to run. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/**
 * A failure that a well-behaved Standin expects to meet: a full disk, a refused connection, a wrong
 * setting. It is reported to the operator and handled; it never means that our code is wrong (that
 * is `AssertionError`).
 *
 * `code` is stable, in CONSTANT_CASE, and may be matched by scripts; `message` may be reworded.
 */
export class StandinError extends Error {
  override readonly name: string = "StandinError";
  readonly code: string;
  readonly hint: string | undefined;

  constructor(code: string, message: string, options: StandinErrorOptions = {}) {
    // An absent cause must stay absent: `{ cause: undefined }` would print as "[cause]: undefined".
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/**
 * An invariant does not hold: our bug. Whoever catches it must stop the work that it belongs to,
 * because its state can no longer be trusted; it must never be retried or ignored.
 */
export class AssertionError extends Error {
  override readonly name: string = "AssertionError";
}
