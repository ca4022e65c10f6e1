/** `standin local`: runs an instance in the foreground and shows what happens. */

import type { InstanceStatus } from "../agent/instance-status.ts";
import { LocalInstance } from "../agent/local-instance.ts";
import type { LocalEvent, LocalOptions, OrphanPolicy } from "../agent/local-options.ts";
import { RING_BYTES_DEFAULT } from "../agent/ring-sizes.ts";
import { repeat, systemClock } from "../platform/clock.ts";
import { ExitCode } from "./exit-code.ts";
import { renderEvent } from "./render-event.ts";
import { renderBar, renderProgress, renderStatusLine } from "./render-status.ts";

export interface LocalArguments {
  readonly source: string;
  readonly replica: string;
  readonly state?: string;
  readonly include?: string[];
  readonly exclude?: string[];
  readonly orphans: OrphanPolicy;
  readonly ring?: number;
  readonly workers?: number;
  readonly allowOpenFiles?: boolean;
  readonly json?: boolean;
}

const STATUS_MS = 1000;

export async function runLocal(given: LocalArguments): Promise<number> {
  const view = viewFor(given.json === true);
  const listener = (event: LocalEvent) => view.event(event);
  const instance = await LocalInstance.prepare(optionsOf(given), listener, systemClock);
  const stop = new AbortController();
  onStopSignals(stop, instance, (line) => view.note(line));
  const shown = new AbortController();
  const showing = repeat(systemClock, STATUS_MS, shown.signal, () =>
    view.status(instance.status()),
  );
  try {
    await instance.run(stop.signal);
  } finally {
    shown.abort();
    await showing;
    view.end();
  }
  return ExitCode.ok;
}

function optionsOf(given: LocalArguments): LocalOptions {
  return {
    source: given.source,
    replica: given.replica,
    stateDirectory: given.state ?? process.env.STANDIN_STATE,
    include: given.include ?? [],
    exclude: given.exclude ?? [],
    orphans: given.orphans,
    ringBytes: given.ring ?? RING_BYTES_DEFAULT,
    workers: given.workers,
    allowOpenFiles: given.allowOpenFiles ?? false,
  };
}

/** First: drain. Second: say what it waits for. Third: leave the rest for the next start. */
function onStopSignals(
  stop: AbortController,
  instance: LocalInstance,
  note: (line: string) => void,
): void {
  let count = 0;
  const onSignal = () => {
    count += 1;
    if (count === 1) stop.abort();
    if (count === 2) {
      note(`waiting for ${instance.waitingFor()}; once more to leave them for the next start`);
    }
    if (count > 2) instance.abandonDrain();
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, onSignal);
}

interface LocalView {
  event(event: LocalEvent): void;
  status(status: InstanceStatus): void;
  note(line: string): void;
  end(): void;
}

function viewFor(isJson: boolean): LocalView {
  // Whoever read our output may be gone; the instance goes on.
  process.stdout.on("error", () => {});
  if (isJson) return jsonView();
  return process.stdout.isTTY ? terminalView() : plainView();
}

function jsonView(): LocalView {
  const print = (value: object) => process.stdout.write(`${JSON.stringify(value)}\n`);
  return {
    event: print,
    status: (status) => print({ event: "status", ...status }),
    note: (message) => print({ event: "note", message }),
    end: () => {},
  };
}

/** Progress is printed when it has moved by so much. */
const PLAIN_STEP_PERCENT = 10;

function plainView(): LocalView {
  const print = (line: string) => process.stdout.write(`${line}\n`);
  let lastPercent = 0;
  let lastState = "";
  return {
    event: (event) => print(renderEvent(event)),
    status(status) {
      const { progress } = status;
      if (progress === null) lastPercent = 0;
      else if (progress.percent >= lastPercent + PLAIN_STEP_PERCENT) {
        lastPercent = progress.percent;
        print(renderProgress(progress));
      }
      const state = `${status.state} ${status.protected}`;
      if (state !== lastState) print(renderStatusLine(status));
      lastState = state;
    },
    note: print,
    end: () => {},
  };
}

const CLEAR_LINE = "\r\u001B[K";

function terminalView(): LocalView {
  const print = (line: string) => process.stdout.write(`${CLEAR_LINE}${line}\n`);
  return {
    event: (event) => print(renderEvent(event)),
    status(status) {
      const line = status.progress === null ? renderStatusLine(status) : renderBar(status.progress);
      const columns = process.stdout.columns ?? 80;
      process.stdout.write(`${CLEAR_LINE}${line.slice(0, columns - 1)}`);
    },
    note: print,
    end: () => process.stdout.write(CLEAR_LINE),
  };
}
