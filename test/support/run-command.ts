/** Commands of the system, always bounded in time. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const TIMEOUT_MS = 60_000;

const execute = promisify(execFile);

/** @returns what it printed. @throws when it ends with anything but 0, with all that it printed. */
export async function runCommand(command: string, ...args: readonly string[]): Promise<string> {
  try {
    const options = { timeout: TIMEOUT_MS, killSignal: "SIGKILL", maxBuffer: 1 << 26 } as const;
    return (await execute(command, [...args], { ...options, cwd: "/" })).stdout;
  } catch (error) {
    const { code, signal, stdout, stderr } = error as Record<string, unknown>;
    const printed = `${String(stdout).slice(-3000)}\n${String(stderr).slice(-3000)}`;
    const line = [command, ...args].join(" ").slice(0, 300);
    throw new Error(`${line}\nended with ${String(signal ?? code)}:\n${printed}`);
  }
}
