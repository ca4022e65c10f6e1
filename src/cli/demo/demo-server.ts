/**
 * One of the demo's two servers: a container with an agent. Both see their own folder under the
 * same path, as two machines do.
 */
import { StandinError } from "../../base/errors.ts";
import type { Clock } from "../../platform/clock.ts";
import { Container, type Ended } from "../../platform/container.ts";
import {
  closeSync,
  existsSync,
  makeFolder,
  makePrivateFolder,
  openForAppend,
  readFrom,
} from "../../platform/files.ts";
import { JsonLineParser } from "../../platform/json-lines.ts";
import type { ChildProcess } from "../../platform/processes.ts";
import { type Notes, readNotes } from "./application.ts";

export const APPLICATIONS = ["database", "mail"] as const;
export type Application = (typeof APPLICATIONS)[number];

const POLL_MS = 10;
const READ_BYTES_MAX = 1 << 18;

export interface DemoServerOptions {
  readonly name: string;
  /** Its disk, as we see it. */
  readonly home: string;
  /** Its disk, as it sees it. */
  readonly path: string;
  readonly hasNetwork: boolean;
  /** The file that is run as `standin`. */
  readonly program: string;
  readonly clock: Clock;
}

export type AgentEvent = Readonly<Record<string, unknown>>;

export class DemoServer {
  readonly name: string;
  readonly home: string;
  readonly container: Container;
  readonly #path: string;
  readonly #program: string;
  readonly #clock: Clock;
  readonly #events: AgentEvent[] = [];
  readonly #parser = new JsonLineParser((event) => this.#events.push(event));
  #position = 0;
  #agent: ChildProcess | undefined;

  private constructor(options: DemoServerOptions, container: Container) {
    const { name, home, path, program, clock } = options;
    this.#program = program;
    this.name = name;
    this.home = home;
    this.container = container;
    this.#path = path;
    this.#clock = clock;
  }

  static async start(options: DemoServerOptions): Promise<DemoServer> {
    const { name, home, path, hasNetwork } = options;
    makeFolder(home);
    makePrivateFolder(`${home}/notes`);
    const binds = [{ folder: home, path }];
    return new DemoServer(options, await Container.start({ name, hasNetwork, binds }));
  }

  /** The agent is ready when it settles. @throws {StandinError} `DEMO_FAILED` */
  async startAgent(signal: AbortSignal, ...options: string[]): Promise<void> {
    const command = this.#command("agent", ...options);
    const log = openForAppend(this.#log);
    this.#agent = this.container.start(command, ["ignore", "ignore", log]);
    closeSync(log);
    await this.waitFor("ready", 60_000, signal);
  }

  #command(...args: string[]): string[] {
    const state = `${this.#path}/state`;
    return [process.execPath, this.#program, ...args, "--state", state, "--json"];
  }

  get #log(): string {
    return `${this.home}/agent.log`;
  }

  /** Runs a command of `standin` there; what it prints. @throws {StandinError} `DEMO_FAILED` */
  async standin(...args: string[]): Promise<Record<string, unknown>> {
    const { code, stdout, stderr } = await this.container.run(this.#command(...args));
    if (code !== 0) {
      throw demoFailed(`standin ${args[0]} on ${this.name}: ${stderr.trim() || "it was killed"}`);
    }
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Record<string, unknown>;
  }

  /** Runs another command there. @throws {StandinError} `DEMO_FAILED` */
  async run(...command: string[]): Promise<Ended> {
    const ended = await this.container.run(command);
    if (ended.code === 0) return ended;
    throw demoFailed(`${command[0]} on ${this.name}: ${ended.stderr.trim() || "it was killed"}`);
  }

  /** What its agent logs. @throws {StandinError} `DEMO_FAILED` when it does not in time */
  async waitFor(name: string, timeoutMs: number, signal: AbortSignal): Promise<AgentEvent> {
    const what = `"${name}" of the agent on ${this.name}`;
    return await this.until(() => this.#event(name), what, timeoutMs, signal);
  }

  #event(name: string): AgentEvent | undefined {
    if (existsSync(this.#log)) {
      const chunk = readFrom(this.#log, this.#position, READ_BYTES_MAX);
      this.#position += chunk.length;
      this.#parser.push(chunk);
    }
    const problem = this.#events.find(({ event }) => event === "promote-failed");
    if (problem !== undefined) throw demoFailed(String(problem.message));
    if (this.#agent?.exitCode != null) throw demoFailed(`the agent on ${this.name} ended`);
    return this.#events.find(({ event }) => event === name);
  }

  /**
   * Asks until there is an answer. Only time in which we run counts: on a machine that stood still,
   * so did the server. @throws {StandinError} `DEMO_FAILED`
   */
  async until<T>(
    probe: () => T | undefined,
    what: string,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<T> {
    for (let waitedMs = 0; waitedMs <= timeoutMs; waitedMs += POLL_MS) {
      signal.throwIfAborted();
      const found = probe();
      if (found !== undefined) return found;
      await this.#clock.sleep(POLL_MS, signal);
    }
    throw demoFailed(`no ${what} in time`);
  }

  /** What its applications have noted, which we read on its disk. */
  notes(application: Application): Notes {
    return readNotes(this.notesPath(application));
  }

  notesPath(application: Application): string {
    return `${this.home}/notes/${application}`;
  }
}

export function demoFailed(message: string): StandinError {
  return new StandinError("DEMO_FAILED", `the demo failed: ${message}`, {
    hint: "Run it with --keep, and look at the logs in the folder it names.",
  });
}
