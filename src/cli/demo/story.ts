/** What happens in the demo, step by step; each is told as it goes. */
import type { JobStatus, SourceStatus, TargetStatus } from "../../agent/jobs/job-status.ts";
import { formatBytes, formatDurationMs } from "../../base/units.ts";
import type { Clock } from "../../platform/clock.ts";
import { writeSmallFile } from "../../platform/files.ts";
import { scriptCommand } from "../../platform/processes.ts";
import type { Output } from "../output.ts";
import { endFileOf, longestPauseMs, type Notes } from "./application.ts";
import type { DemoFigures, Fate } from "./demo-figures.ts";
import { type Application, APPLICATIONS, type DemoServer, demoFailed } from "./demo-server.ts";
import { type DemoStage, JOB } from "./demo-stage.ts";
import type { Inspection } from "./inspection.ts";
import type { InspectionConfig, Inspections } from "./inspection-process.ts";

export interface StoryOptions {
  readonly loadMs: number;
  /** Without namespaces for the network, also where they are possible. */
  readonly isOnLoopback: boolean;
  readonly signal: AbortSignal;
}

const ROWS_BEFORE = 1000;
const MAILS_BEFORE = 300;
const ON_FAILURE_SECONDS = 5;
/** After the engine's death, until it is judged that nobody noticed. */
const OBSERVE_MS = 3000;
/** How long the applications go on at the new place. */
const AFTER_MS = 4000;
/** For what takes a few seconds on a machine that has time for us. */
const PATIENCE_MS = 60_000;
/** Applications work on each few milliseconds. */
const STILL_MS = 15_000;
const REPORT_MS = 5000;

type AllNotes = Readonly<Record<Application, Notes>>;

export class Story {
  readonly #stage: DemoStage;
  readonly #output: Output;
  readonly #clock: Clock;
  readonly #options: StoryOptions;
  readonly #signal: AbortSignal;
  #step = 0;
  #isByItself = true;
  #liveFromMs = 0;

  constructor(stage: DemoStage, output: Output, clock: Clock, options: StoryOptions) {
    this.#stage = stage;
    this.#output = output;
    this.#clock = clock;
    this.#options = options;
    this.#signal = options.signal;
  }

  async play(): Promise<DemoFigures> {
    await this.#makeServers();
    await this.#prepareData();
    const mirrorMs = await this.#protect();
    await this.#load();
    const enginePauseMs = await this.#killEngine();
    await this.#verify();
    const acknowledged = await this.#flush();
    const lost = await this.#loseServer();
    const times = await this.#takeOver(lost.killedAtMs);
    const fates = await this.#inspect(acknowledged);
    const { captured, target, pauseMs } = lost;
    const isByItself = this.#isByItself;
    const figures = { isByItself, captured, target, mirrorMs, enginePauseMs, pauseMs };
    return { ...figures, ...times, ...fates };
  }

  #say(title: string, ...lines: string[]): void {
    this.#signal.throwIfAborted();
    this.#step += 1;
    this.#output.text(`\n${this.#step}. ${title}`);
    for (const line of lines) this.#output.text(`   ${line}`);
    this.#output.json({ event: "step", number: this.#step, title });
  }

  #shows(server: string, command: string): void {
    this.#output.text(`   ${server}# ${command}`);
  }

  #result(line: string): void {
    this.#output.text(`   -> ${line}`);
  }

  async #makeServers(): Promise<void> {
    this.#say(
      "Two servers, alpha and beta",
      "Each is a container with its own network, processes, mounts and shared memory, and one",
      "cable. Each runs an agent; beta joins the fleet of alpha with a token.",
    );
    await this.#chooseNetwork();
    const { signal } = this.#options;
    const other = this.#stage.addressOf("beta");
    this.#shows("alpha", `standin agent --listen ${this.#stage.addressOf("alpha")}`);
    this.#shows("alpha", "standin invite");
    this.#shows("beta", `standin join TOKEN --listen ${other}; standin agent`);
    await this.#stage.makeFleet(signal);
  }

  /** A host on a loopback address answers for ever: there is no telling that it is lost. */
  async #chooseNetwork(): Promise<void> {
    const asked = this.#options.isOnLoopback ? "--loopback was given" : undefined;
    const problem = asked ?? (await this.#stage.makeNetwork());
    if (problem === undefined) return;
    this.#isByItself = false;
    this.#result(`no network of their own: ${problem}`);
    this.#result("they use two loopback addresses, and the promotion will be asked for by hand");
  }

  async #prepareData(): Promise<void> {
    this.#say(
      "Data on alpha",
      `${this.#stage.live} gets a SQLite database of ${ROWS_BEFORE} rows (synchronous=FULL)`,
      `and a maildir of ${MAILS_BEFORE} messages.`,
    );
    await this.#stage.prepareData({ database: ROWS_BEFORE, mail: MAILS_BEFORE });
  }

  async #protect(): Promise<number> {
    this.#say(
      "Protect it over the network, while it is in use",
      "The folder is mounted over, in place; then both applications start on it. Each notes",
      "outside of the folder what was committed. The replica on beta is made meanwhile.",
    );
    const alpha = this.#stage.server("alpha");
    const { live, startCommand } = this.#stage;
    const onFailure = this.#isByItself ? ON_FAILURE_SECONDS : null;
    const option = onFailure === null ? "" : ` --on-failure ${onFailure}`;
    this.#shows("alpha", `standin protect ${live} --to beta${option} --start-command START`);
    const startMs = this.#clock.monotonicMs();
    await this.#stage.protect(onFailure);
    await alpha.run("sh", "-c", startCommand);
    await this.#untilProgress(alpha);
    this.#liveFromMs = this.#clock.wallMs();
    await this.#stage.flush();
    const mirrorMs = this.#clock.monotonicMs() - startMs;
    this.#result(`the replica is complete after ${formatDurationMs(mirrorMs)}`);
    return mirrorMs;
  }

  async #load(): Promise<void> {
    this.#say(
      "Replication under load",
      "Every change goes to beta's disk, and to the replica in the order in which it was made.",
    );
    const deadline = this.#clock.monotonicMs() + this.#options.loadMs;
    let before = await this.#status();
    let beforeMs = this.#clock.monotonicMs();
    while (this.#clock.monotonicMs() < deadline) {
      const leftMs = deadline - this.#clock.monotonicMs();
      await this.#clock.sleep(Math.min(REPORT_MS, leftMs), this.#signal);
      await this.#untilProgress(this.#stage.server("alpha"));
      const now = await this.#status();
      const nowMs = this.#clock.monotonicMs();
      this.#result(loadLine(before, now, (nowMs - beforeMs) / 1000));
      [before, beforeMs] = [now, nowMs];
    }
  }

  async #status(): Promise<SourceStatus> {
    const { jobs } = await this.#stage.server("alpha").standin("jobs");
    const found = (jobs as JobStatus[]).find(({ role }) => role === "source");
    if (found?.role !== "source") throw demoFailed("alpha has no job");
    return found;
  }

  /** Returns the longest pause that an application saw around it. */
  async #killEngine(): Promise<number> {
    this.#say(
      "Kill the capture engine on alpha (SIGKILL)",
      "The keeper holds the mount and lets another engine serve; the applications are not told.",
    );
    const alpha = this.#stage.server("alpha");
    const { engine } = (await this.#status()).processes;
    if (engine === null) throw demoFailed("there is no capture engine");
    const killedAtMs = this.#clock.wallMs();
    await alpha.run("sh", "-c", `kill -9 ${engine}`);
    await this.#clock.sleep(OBSERVE_MS, this.#signal);
    await this.#untilProgress(alpha);
    const pauseMs = longestPause(notesOf(alpha), killedAtMs - 50, killedAtMs + OBSERVE_MS);
    this.#result(`no error; the longest pause of an application was ${formatDurationMs(pauseMs)}`);
    return pauseMs;
  }

  /** Both applications work on, and saw no error. @throws {StandinError} `DEMO_FAILED` */
  async #untilProgress(server: DemoServer): Promise<void> {
    const isFurther = (name: Application, before: number) => {
      const { done, failures } = server.notes(name);
      const [failure] = failures;
      if (failure !== undefined) throw demoFailed(`the ${name} application saw: ${failure}`);
      return done.length > before || undefined;
    };
    for (const name of APPLICATIONS) {
      const before = server.notes(name).done.length;
      const what = `work of the ${name} application on ${server.name}`;
      await server.until(() => isFurther(name, before), what, STILL_MS, this.#signal);
    }
  }

  async #verify(): Promise<void> {
    this.#say(
      "Verify the replica, with everything running",
      "Checksums travel in the stream, so that each is compared as of its own moment.",
    );
    const alpha = this.#stage.server("alpha");
    this.#shows("alpha", `standin verify ${JOB}`);
    const { targets } = await alpha.standin("verify", JOB);
    const [{ files, bytes } = { files: 0, bytes: 0 }] = targets as Record<string, number>[];
    this.#result(`${files} files, ${formatBytes(bytes ?? 0)}: no difference`);
    await this.#untilProgress(alpha);
  }

  /** What was committed before it is acknowledged as replicated. */
  async #flush(): Promise<AllNotes> {
    this.#say(
      "Flush",
      "When it returns, all that was committed before it is in the replica. From now on each of",
      "these rows and messages counts as promised.",
    );
    const alpha = this.#stage.server("alpha");
    this.#shows("alpha", `standin flush ${JOB}`);
    const notes = notesOf(alpha);
    const startMs = this.#clock.monotonicMs();
    await this.#stage.flush();
    const { database, mail } = notes;
    this.#result(
      `${database.done.length} rows and ${mail.done.length} messages are acknowledged ` +
        `(${formatDurationMs(this.#clock.monotonicMs() - startMs)})`,
    );
    return notes;
  }

  async #loseServer() {
    this.#say(
      "Lose alpha",
      "The cable is out, and every process is killed (SIGKILL) in the middle of its work: agent,",
      "keeper, engines, applications. No connection is closed; nobody says good-bye.",
    );
    const alpha = this.#stage.server("alpha");
    const { lsn: ops, bytesCaptured: bytes, targets, ...status } = await this.#status();
    const [target] = targets;
    if (target === undefined || !status.protected) throw demoFailed("the job is not protected");
    await this.#untilProgress(alpha);
    const pauseMs = longestPause(notesOf(alpha), this.#liveFromMs, this.#clock.wallMs());
    const killedAtMs = await this.#stage.lose(alpha);
    this.#result("nothing of alpha is left running");
    return { killedAtMs, pauseMs, target, captured: { ops, bytes } };
  }

  async #takeOver(killedAtMs: number) {
    this.#say(
      "beta takes over",
      ...(this.#isByItself
        ? [`It promotes its replica when agent and host are silent for ${ON_FAILURE_SECONDS} s:`]
        : ["It is told to promote its replica:"]),
      "what was received is applied, the folder is shown and captured at its path, and the start",
      "command of the job starts the applications, which recover by themselves.",
    );
    const beta = this.#stage.server("beta");
    if (!this.#isByItself) {
      this.#shows("beta", `standin promote ${JOB}`);
      await beta.standin("promote", JOB);
    }
    const promoted = await beta.waitFor("promoted", PATIENCE_MS, this.#signal);
    const promotedMs = Date.parse(String(promoted.time)) - killedAtMs;
    this.#result(`promoted ${formatDurationMs(promotedMs)} after the kill`);
    const firstRowMs = (await this.#firstWork(beta, "database")) - killedAtMs;
    this.#result(`the first row is committed ${formatDurationMs(firstRowMs)} after the kill`);
    const firstMailMs = (await this.#firstWork(beta, "mail")) - killedAtMs;
    await this.#clock.sleep(AFTER_MS, this.#signal);
    await this.#untilProgress(beta);
    await this.#end(beta);
    this.#result("both applications went on at the new place, and saw no error");
    return { promotedMs, firstRowMs, firstMailMs };
  }

  /** When the application finished its first piece of work on the server, by the wall clock. */
  async #firstWork(server: DemoServer, name: Application): Promise<number> {
    const probe = () => server.notes(name).done[0]?.atMs;
    const what = `work of the ${name} application on ${server.name}`;
    return await server.until(probe, what, PATIENCE_MS, this.#signal);
  }

  /** Lets the applications end. */
  async #end(server: DemoServer): Promise<void> {
    for (const name of APPLICATIONS) writeSmallFile(endFileOf(server.notesPath(name)), "");
    for (const name of APPLICATIONS) {
      const probe = () => {
        const { hasEnded, failures } = server.notes(name);
        const [failure] = failures;
        if (failure !== undefined) throw demoFailed(`the ${name} application saw: ${failure}`);
        return hasEnded || undefined;
      };
      await server.until(probe, `end of the ${name} application`, PATIENCE_MS, this.#signal);
    }
  }

  async #inspect(acknowledged: AllNotes): Promise<Pick<DemoFigures, Application>> {
    this.#say(
      "Count on beta",
      "Rows and messages are compared with what the applications noted on both servers.",
    );
    const [alpha, beta] = [this.#stage.server("alpha"), this.#stage.server("beta")];
    const [before, after] = [notesOf(alpha), notesOf(beta)];
    const promised = (name: Application) => [
      { host: "alpha", ...rangeOf(acknowledged[name]) },
      { host: "beta", ...rangeOf(after[name]) },
    ];
    const config: InspectionConfig = {
      folder: this.#stage.live,
      database: promised("database"),
      mail: promised("mail"),
    };
    const script = { base: import.meta.url, script: "./inspection-process.ts", config };
    const { stdout } = await beta.run(...scriptCommand(script));
    const { database, mail } = JSON.parse(stdout) as Inspections;
    this.#result(`PRAGMA integrity_check: ${database.integrity}`);
    this.#result(`${database.found} rows, ${mail.found} messages`);
    const fate = <T extends Inspection>(name: Application, inspection: T): Fate<T> => ({
      committed: before[name].done.length,
      acknowledged: acknowledged[name].done.length,
      committedAfter: after[name].done.length,
      inspection,
    });
    return { database: fate("database", database), mail: fate("mail", mail) };
  }
}

function notesOf(server: DemoServer): AllNotes {
  return { database: server.notes("database"), mail: server.notes("mail") };
}

/** Each application numbers without a gap. */
function rangeOf({ done }: Notes): { readonly first: number; readonly last: number } {
  return { first: done[0]?.number ?? 1, last: done.at(-1)?.number ?? 0 };
}

function longestPause({ database, mail }: AllNotes, fromMs: number, untilMs: number): number {
  return Math.max(
    longestPauseMs(database.done, fromMs, untilMs),
    longestPauseMs(mail.done, fromMs, untilMs),
  );
}

function loadLine(before: SourceStatus, now: SourceStatus, seconds: number): string {
  const [target] = now.targets as readonly (TargetStatus | undefined)[];
  return [
    now.protected ? "protected" : "NOT protected",
    `${Math.round((now.lsn - before.lsn) / seconds)} changes/s`,
    `${formatBytes(Math.round((now.bytesCaptured - before.bytesCaptured) / seconds))}/s`,
    `lag ${formatDurationMs((target?.lagSeconds ?? 0) * 1000)}`,
  ].join(", ");
}
