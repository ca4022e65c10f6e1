/**
 * The agent's log: one line for an event, on stderr. Under systemd the journal adds the time and
 * takes the priority from a prefix; elsewhere the line begins with the time.
 */
import type { Clock } from "../platform/clock.ts";

export type LogLevel = "info" | "warning" | "error";

export type LogFields = Readonly<Record<string, unknown>>;

/** For those who only tell what happened: a sentence, and what it is about. */
export type Report = (level: "info" | "warning", message: string, fields: LogFields) => void;

export type LogFormat = "terminal" | "journal" | "json";

/** As of syslog, in front of a line, which systemd takes off. */
const PRIORITIES = { info: "<6>", warning: "<4>", error: "<3>" } as const;

export class AgentLog {
  readonly #format: LogFormat;
  readonly #clock: Clock;
  readonly #write: (line: string) => void;

  constructor(format: LogFormat, clock: Clock, write: (line: string) => void) {
    this.#format = format;
    this.#clock = clock;
    this.#write = write;
  }

  /** `event` is stable, for scripts; `message` is a sentence for people. */
  info(event: string, message: string, fields: LogFields = {}): void {
    this.#line("info", event, message, fields);
  }

  warning(event: string, message: string, fields: LogFields = {}): void {
    this.#line("warning", event, message, fields);
  }

  error(event: string, message: string, fields: LogFields = {}): void {
    this.#line("error", event, message, fields);
  }

  #line(level: LogLevel, event: string, message: string, fields: LogFields): void {
    const time = new Date(this.#clock.wallMs()).toISOString();
    if (this.#format === "json") {
      this.#write(JSON.stringify({ time, level, event, message, ...fields }));
      return;
    }
    const pairs = Object.entries(fields).map(([name, value]) => ` ${name}=${shown(value)}`);
    const text = `${level === "info" ? "" : `${level}: `}${message}${pairs.join("")}`;
    const whole = text.replaceAll(/[\n\r]+\s*/g, " | ");
    this.#write(`${this.#format === "journal" ? PRIORITIES[level] : `${time} `}${whole}`);
  }
}

function shown(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return /^[\w.:/@[\]-]+$/.test(text) ? text : JSON.stringify(text);
}

/** Under systemd, stderr is the journal. */
export function logFormatFor(isJson: boolean, environment: NodeJS.ProcessEnv): LogFormat {
  if (isJson) return "json";
  return environment.JOURNAL_STREAM === undefined ? "terminal" : "journal";
}
