/**
 * The control socket speaks JSON, one object a line: a request is answered by any number of
 * `progress` lines and one `result` or `error` with the same id.
 */

export type ControlRequest =
  | { readonly id: number; readonly command: "status" }
  | { readonly id: number; readonly command: "flush"; readonly timeoutMs: number }
  | { readonly id: number; readonly command: "verify"; readonly repair: boolean }
  | { readonly id: number; readonly command: "pause" }
  | { readonly id: number; readonly command: "resume" };

export type ControlCommand = ControlRequest["command"];

export interface ControlErrorBody {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

export type ControlAnswer =
  | { readonly id: number; readonly progress: unknown }
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: ControlErrorBody };

const COMMANDS: ReadonlySet<unknown> = new Set(["status", "flush", "verify", "pause", "resume"]);

/** A day: longer is a mistake, and would overflow a timer. */
const TIMEOUT_MS_MAX = 86_400_000;

/** What is wrong with a request, or undefined. */
export function checkRequest(value: Record<string, unknown>): string | undefined {
  if (typeof value.id !== "number") return "a request has a numeric id";
  if (!COMMANDS.has(value.command)) return `unknown command ${JSON.stringify(value.command)}`;
  if (value.command === "flush") {
    const timeoutMs = value.timeoutMs;
    const isGood = typeof timeoutMs === "number" && timeoutMs >= 0 && timeoutMs <= TIMEOUT_MS_MAX;
    if (!isGood) return "flush has a timeoutMs of at most a day";
  }
  if (value.command === "verify" && typeof value.repair !== "boolean") {
    return "verify has a boolean repair";
  }
  return undefined;
}
