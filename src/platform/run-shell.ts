/** Runs an operator's command. */
import { spawn } from "node:child_process";

export interface ShellResult {
  /** Null: ended by a signal, or it did not start. */
  readonly code: number | null;
  /** The end of what it printed on both streams. */
  readonly output: string;
}

const OUTPUT_CHARACTERS_MAX = 4000;

/** `sh -c command`. Never rejects. What it starts in the background goes on when it has ended. */
export function runShell(
  command: string,
  environment: Readonly<Record<string, string>>,
): Promise<ShellResult> {
  return new Promise((resolve) => {
    let output = "";
    const child = spawn("/bin/sh", ["-c", command], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...environment },
      detached: true,
    });
    const take = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-OUTPUT_CHARACTERS_MAX);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.once("error", (error) => resolve({ code: null, output: error.message }));
    // "exit", not "close": a service that it started may keep the pipes open.
    child.once("exit", (code) => resolve({ code, output: output.trim() }));
  });
}
