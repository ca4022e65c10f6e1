/**
 * `standin demo`: the whole of `standin local` on real applications, with the worst happening to
 * them.
 */
import type { InstanceStatus } from "../../agent/instance-status.ts";
import { formatBytes, formatDurationMs } from "../../base/units.ts";
import { systemClock as clock } from "../../platform/clock.ts";
import type { ChildProcess } from "../../platform/processes.ts";
import { ExitCode } from "../exit-code.ts";
import { errorLines, errorObject, type Output, outputFor } from "../output.ts";
import { longestPauseMs, type Notes, readNotes } from "./application.ts";
import { type DemoFigures, renderFigures } from "./demo-figures.ts";
import { DemoStage, demoFailed } from "./demo-stage.ts";
import { inspectDatabase, inspectMail, isIntact } from "./inspect-copy.ts";

export interface DemoArguments {
  readonly seconds: number;
  readonly keep?: boolean;
  readonly json?: boolean;
}

const ROWS_BEFORE = 1000;
const MAILS_BEFORE = 300;
/** Fast enough to be a load, slow enough to leave the machine to its other users. */
const DATABASE_PAUSE_MS = 2;
const MAIL_PAUSE_MS = 4;
const MIRROR_TIMEOUT_MS = 60_000;
const FLUSH_TIMEOUT_MS = 30_000;
/** After the engine's death, until it is judged that nobody noticed. */
const OBSERVE_MS = 3000;

export async function runDemo(given: DemoArguments): Promise<number> {
  const output = outputFor(given.json === true);
  const stopped = new AbortController();
  const onSignal = () => stopped.abort(demoFailed("interrupted"));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, onSignal);
  const stage = new DemoStage(clock);
  try {
    const figures = await new Demo(stage, output, given.seconds, stopped.signal).play();
    output.text(renderFigures(figures));
    output.json({ event: "figures", ...figures });
    return figures.isIntact ? ExitCode.ok : ExitCode.failed;
  } catch (error) {
    const cause = stopped.signal.aborted ? stopped.signal.reason : error;
    output.json(errorObject(cause));
    process.stderr.write(errorLines(cause));
    return ExitCode.failed;
  } finally {
    await stage.clear(given.keep === true);
    if (given.keep === true) output.text(`\nThe folder is left for a look: ${stage.folder}`);
  }
}

class Demo {
  readonly #stage: DemoStage;
  readonly #output: Output;
  readonly #loadMs: number;
  readonly #signal: AbortSignal;
  #step = 0;
  #liveFromMs = 0;

  constructor(stage: DemoStage, output: Output, seconds: number, signal: AbortSignal) {
    this.#stage = stage;
    this.#output = output;
    this.#loadMs = seconds * 1000;
    this.#signal = signal;
  }

  #say(title: string, ...lines: string[]): void {
    this.#step += 1;
    this.#output.text(`\n${this.#step}. ${title}`);
    for (const line of lines) this.#output.text(`   ${line}`);
    this.#output.json({ event: "step", number: this.#step, title });
  }

  #result(line: string): void {
    this.#output.text(`   -> ${line}`);
  }

  async play(): Promise<DemoFigures> {
    await this.#prepareData();
    const mirrorMs = await this.#protect();
    await this.#load();
    const enginePauseMs = await this.#killEngine();
    await this.#verify();
    const before = await this.#loseServer();
    return this.#openCopy({ ...before, mirrorMs, enginePauseMs });
  }

  async #prepareData(): Promise<void> {
    this.#say(
      "A server with data on it",
      `${this.#stage.live} gets a SQLite database of ${ROWS_BEFORE} rows (synchronous=FULL)`,
      `and a maildir of ${MAILS_BEFORE} messages.`,
    );
    const database = this.#stage.startApplication("database", rows(1, ROWS_BEFORE));
    const mail = this.#stage.startApplication("mail", messages(1, MAILS_BEFORE));
    const codes = await Promise.all([database, mail].map(exitCodeOf));
    this.#signal.throwIfAborted();
    if (codes.some((code) => code !== 0)) throw demoFailed("the data could not be prepared");
  }

  async #protect(): Promise<number> {
    this.#say(
      "Protect it while it is in use",
      "standin local mounts over the folder, in place; then both applications start on it. Each",
      "notes outside of the folder what was committed. The copy is made meanwhile.",
    );
    const startMs = clock.monotonicMs();
    this.#stage.startAgent();
    await this.#stage.waitFor("mounted", MIRROR_TIMEOUT_MS, this.#signal);
    this.#liveFromMs = clock.wallMs();
    this.#stage.startApplication("database", { ...rows(ROWS_BEFORE + 1, null) });
    this.#stage.startApplication("mail", { ...messages(MAILS_BEFORE + 1, null) });
    await this.#stage.waitFor("mirrored", MIRROR_TIMEOUT_MS, this.#signal);
    const mirrorMs = clock.monotonicMs() - startMs;
    this.#result(`the copy is complete after ${formatDurationMs(mirrorMs)}`);
    return mirrorMs;
  }

  async #load(): Promise<void> {
    this.#say(
      "Replication under load",
      "Every change is applied to the copy in the order in which it was made.",
    );
    const deadline = clock.monotonicMs() + this.#loadMs;
    while (clock.monotonicMs() < deadline) {
      await clock.sleep(Math.min(5000, deadline - clock.monotonicMs()), this.#signal);
      this.#checkApplications();
      this.#result(loadLine(await this.#stage.status()));
    }
  }

  /** Returns the longest pause that an application saw around it. */
  async #killEngine(): Promise<number> {
    this.#say(
      "Kill the capture engine (SIGKILL)",
      "The keeper holds the mount and starts another engine; the applications are not told.",
    );
    await this.#stage.status();
    const killedAtMs = clock.wallMs();
    this.#stage.kill(["engine"]);
    await clock.sleep(OBSERVE_MS, this.#signal);
    this.#checkApplications();
    const pauseMs = this.#longestPauseMs(killedAtMs - 50, killedAtMs + OBSERVE_MS);
    this.#result(`no error; the longest pause of an application was ${formatDurationMs(pauseMs)}`);
    return pauseMs;
  }

  #longestPauseMs(fromMs: number, untilMs: number): number {
    const { database, mail } = this.#notes();
    return Math.max(
      longestPauseMs(database.done, fromMs, untilMs),
      longestPauseMs(mail.done, fromMs, untilMs),
    );
  }

  #notes(): { database: Notes; mail: Notes } {
    return {
      database: readNotes(this.#stage.notesOf("database")),
      mail: readNotes(this.#stage.notesOf("mail")),
    };
  }

  #checkApplications(): void {
    this.#signal.throwIfAborted();
    const { database, mail } = this.#notes();
    const failure = database.failures[0] ?? mail.failures[0];
    if (failure !== undefined) throw demoFailed(`an application saw an error: ${failure}`);
    for (const name of ["database", "mail"]) {
      if (!this.#stage.isRunning(name)) throw demoFailed(`the ${name} application ended`);
    }
  }

  async #verify(): Promise<void> {
    this.#say(
      "Verify the copy, with everything running",
      "Checksums travel in the stream, so that each is compared as of its own moment.",
    );
    const client = await this.#stage.client();
    const verified = await client.request({ command: "verify", repair: false });
    this.#signal.throwIfAborted();
    const { different, files, bytes } = verified as Record<string, number>;
    if (different !== 0) throw demoFailed(`verify found ${different} differences`);
    this.#result(`${files} files, ${formatBytes(bytes ?? 0)}: no difference`);
    this.#checkApplications();
  }

  async #loseServer() {
    this.#say(
      "Lose the server",
      "standin flush returns when all that was committed before it is in the copy. Then agent,",
      "keeper, engine and both applications are killed in the middle of their work.",
    );
    const promised = this.#notes();
    const client = await this.#stage.client();
    const startMs = clock.monotonicMs();
    await client.request({ command: "flush", timeoutMs: FLUSH_TIMEOUT_MS });
    this.#signal.throwIfAborted();
    this.#result(`flushed in ${formatDurationMs(clock.monotonicMs() - startMs)}`);
    const status = await this.#stage.status();
    this.#checkApplications();
    const pauseMs = this.#longestPauseMs(this.#liveFromMs + 500, clock.wallMs());
    const killed = ["agent", "database", "mail", "keeper", "engine"] as const;
    this.#stage.kill(killed);
    await this.#stage.waitUntilDead(killed);
    this.#stage.kill(["applier"]);
    await this.#stage.waitUntilDead(["applier"]);
    await this.#stage.unmountDead();
    this.#result("nothing of the source is left running");
    return { promised, status, pauseMs };
  }

  #openCopy(before: {
    readonly promised: { readonly database: Notes; readonly mail: Notes };
    readonly status: DemoFigures["status"];
    readonly pauseMs: number;
    readonly mirrorMs: number;
    readonly enginePauseMs: number;
  }): DemoFigures {
    this.#say("Open the copy", "As a second server would: the database recovers by itself.");
    const { promised, ...figures } = before;
    const database = inspectDatabase(`${this.#stage.copy}/orders.db`, promised.database.done);
    const mail = inspectMail(`${this.#stage.copy}/mail`, promised.mail.done);
    const isSound = database.integrity === "ok" && isIntact(database) && isIntact(mail);
    this.#result(`PRAGMA integrity_check: ${database.integrity}`);
    this.#result(`${database.found} rows, ${mail.found} messages; nothing promised is missing`);
    return { ...figures, database, mail, isIntact: isSound };
  }
}

function exitCodeOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once("exit", resolve));
}

function loadLine({ rates, lag, protected: isProtected }: InstanceStatus): string {
  return [
    isProtected ? "protected" : "NOT protected",
    `${rates.capturedOpsPerSecond} changes/s`,
    `${formatBytes(rates.capturedBytesPerSecond)}/s`,
    `lag ${formatDurationMs(lag.seconds * 1000)}`,
  ].join(", ");
}

function rows(firstNumber: number, count: number | null) {
  return { firstNumber, count, pauseMs: count === null ? DATABASE_PAUSE_MS : 0 };
}

function messages(firstNumber: number, count: number | null) {
  return { firstNumber, count, pauseMs: count === null ? MAIL_PAUSE_MS : 0 };
}
