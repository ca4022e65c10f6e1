/** Where the commands write: text for people, or JSON objects, one a line, for scripts. */
import { StandinError } from "../base/errors.ts";

export interface Output {
  /** A line of text on stdout; nothing when JSON was asked for. */
  text(line: string): void;
  /** A JSON line on stdout; nothing when text was asked for. */
  json(value: object): void;
  readonly isJson: boolean;
}

export function outputFor(isJson: boolean): Output {
  return {
    isJson,
    text: (line) => {
      if (!isJson) process.stdout.write(`${line}\n`);
    },
    json: (value) => {
      if (isJson) process.stdout.write(`${JSON.stringify(value)}\n`);
    },
  };
}

/** An error in one or two lines: what happened, and what to do next. */
export function errorLines(error: unknown): string {
  const message = (error as Error | undefined)?.message ?? String(error);
  if (!(error instanceof StandinError)) {
    const next = "Run it again with STANDIN_DEBUG=1 for the place, and report it.";
    return `standin: internal error: ${message}\n  ${next}\n`;
  }
  return `standin: ${message}\n${error.hint === undefined ? "" : `  ${error.hint}\n`}`;
}

/** The same for scripts. */
export function errorObject(error: unknown): object {
  const message = (error as Error | undefined)?.message ?? String(error);
  if (!(error instanceof StandinError)) return { event: "error", code: "INTERNAL", message };
  const { code, hint } = error;
  return { event: "error", code, message, ...(hint === undefined ? {} : { hint }) };
}

export function reportError(error: unknown, isJson: boolean): void {
  if (isJson) process.stdout.write(`${JSON.stringify(errorObject(error))}\n`);
  process.stderr.write(errorLines(error));
  const stack = (error as Error | undefined)?.stack;
  if (process.env.STANDIN_DEBUG !== undefined && stack !== undefined) {
    process.stderr.write(`${stack}\n`);
  }
}
