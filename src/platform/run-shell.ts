/** Runs an operator's command. */
import { spawn } from "node:child_process";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";

export interface ShellOptions {
  /** Beside that of this process. */
  readonly environment: Readonly<Record<string, string>>;
  /**
   * Where both output streams go. A file and no pipe: a service that the command leaves running
   * would be killed by its first line when we are gone.
   */
  readonly logFile: string;
  /** After that it is no longer waited for; it goes on. */
  readonly timeoutMs: number;
}

export interface ShellResult {
  /** Null: ended by a signal, not ended in time, or not started. */
  readonly code: number | null;
  /** The end of what it printed. */
  readonly output: string;
}

const OUTPUT_BYTES_MAX = 4000;

/** `sh -c command`. Never rejects. */
export function runShell(
  command: string,
  { environment, logFile, timeoutMs }: ShellOptions,
): Promise<ShellResult> {
  return new Promise((resolve) => {
    const log = openSync(logFile, "w+", 0o600);
    const child = spawn("/bin/sh", ["-c", command], {
      stdio: ["ignore", log, log],
      env: { ...process.env, ...environment },
      detached: true,
    });
    let hasEnded = false;
    const end = (code: number | null, problem?: string): void => {
      if (hasEnded) return;
      hasEnded = true;
      clearTimeout(timer);
      const output = problem ?? tail(log);
      closeSync(log);
      resolve({ code, output });
    };
    const timer = setTimeout(() => {
      child.unref();
      end(null);
    }, timeoutMs);
    child.once("error", (error) => end(null, error.message));
    child.once("exit", (code) => end(code));
  });
}

function tail(fd: number): string {
  const { size } = fstatSync(fd);
  const bytes = Buffer.alloc(Math.min(size, OUTPUT_BYTES_MAX));
  const got = readSync(fd, bytes, 0, bytes.length, size - bytes.length);
  return bytes.subarray(0, got).toString().trim();
}
