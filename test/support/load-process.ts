/** An application of a test: started, watched for an end that nobody asked for, killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";

export interface LoadOptions {
  readonly logFile: string;
  /** Lines of its standard output, which else goes to the log. */
  readonly onLine?: (line: string) => void;
}

export class LoadProcess {
  readonly child: ChildProcess;
  readonly #command: string;
  readonly #logFile: string;

  constructor(command: string, args: readonly string[], options: LoadOptions) {
    const log = openSync(options.logFile, "a");
    const output = options.onLine === undefined ? log : "pipe";
    this.child = spawn(command, args, { stdio: ["pipe", output, log], cwd: "/" });
    closeSync(log);
    this.#command = [command, ...args].join(" ");
    this.#logFile = options.logFile;
    this.child.on("error", () => {}); // pid() says that it did not start
    this.child.stdin?.on("error", () => {}); // it was killed
    if (options.onLine !== undefined) this.#readLines(options.onLine);
  }

  #readLines(onLine: (line: string) => void): void {
    let rest = "";
    this.child.stdout?.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) onLine(line);
    });
  }

  /** @throws when it has ended by itself: no application ends because of us. */
  pid(): number {
    const { pid, exitCode, signalCode } = this.child;
    if (pid !== undefined && exitCode === null && signalCode === null) return pid;
    const log = readFileSync(this.#logFile, "utf8").slice(-2000);
    throw new Error(`${this.#command} ended: ${exitCode ?? signalCode ?? "no start"}\n${log}`);
  }

  kill(): void {
    this.child.kill("SIGKILL");
  }
}
