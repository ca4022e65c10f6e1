/** `standin agent`: runs the agent of this server in the foreground. */
import { AgentDaemon } from "../agent/agent-daemon.ts";
import { AgentLog, logFormatFor } from "../agent/agent-log.ts";
import { agentStatePath } from "../agent/agent-state.ts";
import { systemClock } from "../platform/clock.ts";
import { expectStreams } from "../platform/processes.ts";
import { ServiceManager } from "../platform/systemd.ts";
import { ExitCode } from "./exit-code.ts";

export interface AgentArguments {
  readonly listen?: string;
  readonly advertise?: string;
  readonly name?: string;
  readonly state?: string;
  readonly json?: boolean;
}

export async function runAgent(given: AgentArguments): Promise<number> {
  const { listen, advertise, name } = given;
  expectStreams();
  process.stderr.on("error", () => {}); // whoever read our log may be gone; the agent goes on
  const format = logFormatFor(given.json === true, process.env);
  const log = new AgentLog(format, systemClock, (line) => process.stderr.write(`${line}\n`));
  const options = { state: agentStatePath(given.state), listen, advertise, name };
  const manager = new ServiceManager(process.env, process.pid);
  const daemon = await AgentDaemon.prepare(options, log, systemClock);
  endOnBug(log);
  await daemon.run(stopSignal(log), manager);
  return ExitCode.ok;
}

/** The first signal drains; the third ends at once, for people who wait at a terminal. */
function stopSignal(log: AgentLog): AbortSignal {
  const stop = new AbortController();
  let count = 0;
  const onSignal = (): void => {
    count += 1;
    stop.abort();
    if (count === 2) log.info("stopping", "still finishing; once more to end at once");
    if (count > 2) process.exit(ExitCode.failed);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, onSignal);
  return stop.signal;
}

/** A bug in one place leaves a state that nobody can trust: the service manager starts us anew. */
function endOnBug(log: AgentLog): void {
  const onBug = (error: unknown): void => {
    log.error("bug", `internal error, ending: ${(error as Error | undefined)?.stack ?? error}`);
    process.exit(ExitCode.failed);
  };
  process.on("uncaughtException", onBug);
  process.on("unhandledRejection", onBug);
}
