/** The commands that ask a running instance to do something: flush, verify, pause, resume. */
import { ControlClient } from "../agent/control-client.ts";
import type { ProgressStatus } from "../agent/instance-status.ts";
import { chooseInstance } from "./choose-instance.ts";
import { ExitCode } from "./exit-code.ts";
import { outputFor } from "./output.ts";
import { renderBar } from "./render-status.ts";

interface InstanceArguments {
  readonly state?: string;
  readonly json?: boolean;
}

async function withClient<T>(
  given: InstanceArguments,
  work: (client: ControlClient) => Promise<T>,
): Promise<T> {
  const client = await ControlClient.connect(chooseInstance(given.state).controlSocket);
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

export async function runFlush(
  given: InstanceArguments & { readonly timeout: number },
): Promise<number> {
  const output = outputFor(given.json === true);
  const timeoutMs = given.timeout * 1000;
  const result = await withClient(given, (client) =>
    client.request({ command: "flush", timeoutMs }),
  );
  const { lsn } = result as { lsn: number };
  output.text(`everything up to LSN ${lsn} is in the copy`);
  output.json({ event: "flushed", lsn });
  return ExitCode.ok;
}

export async function runVerify(
  given: InstanceArguments & { readonly repair?: boolean },
): Promise<number> {
  const output = outputFor(given.json === true);
  const repair = given.repair === true;
  const showProgress = (progress: unknown): void => {
    if (output.isJson || !process.stderr.isTTY || progress === null) return;
    process.stderr.write(`\r\u001B[K${renderBar(progress as ProgressStatus)}`);
  };
  const result = await withClient(given, (client) =>
    client.request({ command: "verify", repair }, showProgress),
  );
  if (process.stderr.isTTY && !output.isJson) process.stderr.write("\r\u001B[K");
  const figures = result as Record<string, unknown>;
  output.json({ ...figures, event: "verified" });
  output.text(renderVerified(figures, repair));
  return differences(figures) > 0 && !repair ? ExitCode.failed : ExitCode.ok;
}

function differences(figures: Record<string, unknown>): number {
  return Number(figures.different ?? figures.differences ?? 0);
}

function renderVerified(figures: Record<string, unknown>, repair: boolean): string {
  const count = differences(figures);
  if (count === 0) return "the copy is equal to the folder";
  const what = count === 1 ? "1 file differs" : `${count} files differ`;
  const done = repair ? ", and was copied again" : "";
  const next = repair ? "" : "\n  Repair the copy with standin verify --repair.";
  return [`${what}${done}${next}`, ...listed(figures)].join("\n");
}

const LISTED_MAX = 20;

/** The first of the files that differ, and in what. */
function listed(figures: Record<string, unknown>): string[] {
  const list = (figures.differences ?? []) as { path: string; what: string[] }[];
  const lines = list.slice(0, LISTED_MAX).map(({ path, what }) => `  ${path}: ${what.join(", ")}`);
  return list.length > LISTED_MAX ? [...lines, `  and others; all with --json`] : lines;
}

export async function runSetPaused(
  given: InstanceArguments & { readonly isPaused: boolean },
): Promise<number> {
  const output = outputFor(given.json === true);
  const command = given.isPaused ? "pause" : "resume";
  await withClient(given, (client) => client.request({ command }));
  output.text(given.isPaused ? "paused: changes wait in memory" : "resumed");
  output.json({ event: given.isPaused ? "paused" : "resumed" });
  return ExitCode.ok;
}
