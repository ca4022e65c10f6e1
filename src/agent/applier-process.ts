/**
 * Entry of the applier process: `node src/agent/applier-process.ts CONFIG`, see applier-config.ts.
 *
 * Commands come as JSON lines on stdin: flush, mirror, verify, pause, resume, checkpoint, stop.
 * Reports go as JSON lines to stdout. When the parent dies, applying goes on. May be killed at any
 * instant; the next one goes on.
 */
import { StandinError } from "../base/errors.ts";
import { HeaderAt } from "../journal/ring-layout.ts";
import { systemClock } from "../platform/clock.ts";
import { JsonLineParser } from "../platform/json-lines.ts";
import { umask } from "../platform/libc.ts";
import { readApplierConfig } from "./applier-config.ts";
import { takeApplierLock } from "./applier-lock.ts";
import { ApplierLoop } from "./applier-loop.ts";
import { Checkpointer } from "./checkpointer.ts";
import { ApplierReporter } from "./applier-reporter.ts";
import { ApplierRuntime } from "./applier-runtime.ts";

/** A reader that does not read costs us no more memory than this. */
const UNREAD_BYTES_MAX = 4 << 20;

function emit(event: Record<string, unknown>): void {
  if (process.stdout.writableLength > UNREAD_BYTES_MAX) return;
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

async function main(): Promise<void> {
  // Modes come from the source, whole.
  umask(0);
  // Nobody may be left to read what we say.
  process.stdout.on("error", () => {});
  const config = readApplierConfig(process.argv[2]);
  // Held until this process ends, however it ends.
  await takeApplierLock(config.shmDir, systemClock);
  let reporter: ApplierReporter | undefined;
  let loop: ApplierLoop | undefined;
  const runtime = new ApplierRuntime(config, {
    notice: (notice) => reporter?.notice(notice),
    passStarted: () => reporter?.passStarted(),
    passEnded: (kind) => loop?.passEnded(kind),
    recovered: (outcome) => emit({ event: "recovered", ...outcome }),
  });
  runtime.ring.setWord(HeaderAt.readerPid, process.pid);
  reporter = new ApplierReporter(runtime, emit);
  loop = new ApplierLoop(runtime, reporter, systemClock, emit);
  const started = loop;
  if (config.checkpoint !== undefined) {
    loop.checkpointer = new Checkpointer(config.checkpoint, runtime, systemClock, emit);
  }
  const parser = new JsonLineParser((command) => started.command(command));
  process.stdin.on("data", (chunk: Buffer) => parser.push(chunk));
  process.stdin.on("error", () => {});
  const areas = [...runtime.roots.values()].map(({ path, areaPath }) => ({ path, areaPath }));
  emit({ event: "ready", pid: process.pid, applied: runtime.ring.applied, areas });
  await loop.run();
  runtime.ring.setWord(HeaderAt.readerPid, 0);
  emit({ event: "stopped", applied: runtime.ring.applied });
  process.stdin.destroy();
}

main().catch((error: unknown) => {
  const known = error instanceof StandinError;
  const message = error instanceof Error ? error.message : String(error);
  emit({
    event: "failed",
    code: known ? error.code : "INTERNAL",
    message,
    ...(known && error.hint !== undefined ? { hint: error.hint } : {}),
  });
  process.stderr.write(`${error instanceof Error ? (error.stack ?? message) : message}\n`);
  process.exitCode = 1;
  process.stdin.destroy();
});
