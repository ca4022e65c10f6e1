/** Runs one program to its end, within a time limit. */
import { spawn } from "node:child_process";

export interface CommandOptions {
  readonly limitMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Exit codes that are no failure. */
  readonly accept?: readonly number[];
}

export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number;
  readonly seconds: number;
}

const LIMIT_MS_DEFAULT = 120_000;
const STDERR_CHARACTERS_MAX = 600;

/**
 * A process that is still there at the limit is killed and not waited for: one that hangs in a dead
 * mount does not die.
 *
 * @throws when it fails, or at the limit.
 */
export function runCommand(
  file: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const { limitMs = LIMIT_MS_DEFAULT, env = {}, cwd = "/", accept = [0] } = options;
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...env },
      cwd,
    });
    const output = { stdout: "", stderr: "" };
    child.stdout.on("data", (chunk) => (output.stdout += chunk));
    child.stderr.on("data", (chunk) => (output.stderr += chunk));
    const name = `${file} ${args.join(" ")}`.slice(0, 200);
    const late = setTimeout(() => {
      child.kill("SIGKILL");
      child.stdout.destroy();
      child.stderr.destroy();
      child.unref();
      reject(new Error(`${name}: not done after ${limitMs / 1000} s`));
    }, limitMs);
    child.once("error", (error) => {
      clearTimeout(late);
      reject(error);
    });
    child.once("close", (code, signal) => {
      clearTimeout(late);
      const seconds = (performance.now() - started) / 1000;
      if (code !== null && accept.includes(code)) resolve({ ...output, code, seconds });
      else reject(new Error(`${name}: ${signal ?? `exit ${code}`}: ${lastOf(output.stderr)}`));
    });
  });
}

function lastOf(text: string): string {
  return text.trim().slice(-STDERR_CHARACTERS_MAX);
}
