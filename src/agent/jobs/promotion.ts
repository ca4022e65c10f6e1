/**
 * Promotion: a replica becomes the place where the applications run. Each step is on the disk
 * before the next one, so that an agent that is killed within goes on at its next start; the start
 * command may then run a second time.
 */
import { StandinError } from "../../base/errors.ts";
import { processorCount } from "../../platform/machine.ts";
import { runShell, type ShellResult } from "../../platform/run-shell.ts";
import type { AgentLog } from "../agent-log.ts";
import { defaultRingBytes, defaultWorkers } from "../ring-sizes.ts";
import { checkPromotionPaths, promotionPaths, putReplicaAt } from "./promotion-path.ts";
import type { JobSettings } from "./source-record.ts";
import type { TargetJob } from "./target-job.ts";
import { replicaOf } from "./target-record.ts";
import type { Unfinished } from "./unfinished.ts";

/** What a start command may take; then it is left alone, and the promotion is complete. */
const START_MS = 600_000;
/** Paths of what is unfinished, in the log; the record has more. */
const LOGGED_MAX = 20;

export interface Promotion {
  readonly name: string;
  /** Where the job's folders are now, in their order. */
  readonly paths: readonly string[];
  /** The replica holds the source's history up to here. */
  readonly lsn: number;
  /** What may be missing or older all the same; null: not known. */
  readonly unfinished: Unfinished | null;
  readonly epoch: number;
  /** What the start command did; null: the job has none. */
  readonly started: ShellResult | null;
}

export interface PromoterParts {
  readonly log: AgentLog;
  /** Whether a job of this agent shows the folder already. */
  readonly isCaptured: (folder: string) => boolean;
  /** Makes a job that shows `binds` at its paths, and captures them there. */
  readonly capture: (
    settings: JobSettings,
    fixed: { readonly epoch: number; readonly binds: readonly string[] },
  ) => Promise<void>;
}

export class Promoter {
  readonly #parts: PromoterParts;
  readonly #underWay = new Map<TargetJob, Promise<Promotion>>();

  constructor(parts: PromoterParts) {
    this.#parts = parts;
  }

  /**
   * Begins, or goes on with what was begun. `at`: see {@link promotionPaths}.
   *
   * @throws {StandinError} `PROMOTED`, `NOT_COMPLETE`, `PROMOTE_PATH`: nothing was changed;
   * `NOT_APPLIED` and others: it can be called again
   */
  async promote(target: TargetJob, at: readonly string[], isForced: boolean): Promise<Promotion> {
    const { promotion, mounts } = target.record;
    if (promotion === null) {
      const paths = promotionPaths(mounts, at);
      checkPromotionPaths(paths);
      target.seal(paths, isForced);
    } else if (promotion.isDone) {
      const { name } = target.record;
      throw new StandinError("PROMOTED", `the replica of ${name} was promoted at ${promotion.at}`, {
        hint: `It is at ${promotion.paths.join(", ")}.`,
      });
    }
    return await this.finish(target);
  }

  /** Of a promotion that was begun; one that is under way is waited for. */
  async finish(target: TargetJob): Promise<Promotion> {
    const underWay = this.#underWay.get(target);
    if (underWay !== undefined) return await underWay;
    const finishing = this.#finish(target);
    this.#underWay.set(target, finishing);
    try {
      return await finishing;
    } finally {
      this.#underWay.delete(target);
    }
  }

  async #finish(target: TargetJob): Promise<Promotion> {
    const { lsn, paths, unfinished } = await target.applyRest();
    const { name, epoch, startCommand } = target.record;
    const { log } = this.#parts;
    await this.#capture(target, paths);
    log.info("promoted", `the replica of ${name} is promoted`, { paths, lsn, epoch });
    if (unfinished !== null && unfinished.count > 0) {
      const { count, paths } = unfinished;
      const message = "files may be missing or older, for the source had yet to bring them";
      log.warning("unfinished", message, { name, count, first: paths.slice(0, LOGGED_MAX) });
    }
    const started = startCommand === null ? null : await this.#start(startCommand, target, paths);
    target.promotionDone();
    return { name, paths, lsn, unfinished, epoch, started };
  }

  /** The new primary captures at once: what is protected next needs only the difference. */
  async #capture({ record }: TargetJob, paths: readonly string[]): Promise<void> {
    const binds = record.mounts.map((mount) => replicaOf(record, mount));
    // One job has them all, or there is none yet.
    if (binds.some((bind) => this.#parts.isCaptured(bind))) return;
    for (const [i, bind] of binds.entries()) putReplicaAt(bind, paths[i] ?? "");
    const workers = defaultWorkers(processorCount(), paths.length);
    const settings: JobSettings = {
      name: `${record.name}-promoted`,
      paths,
      targets: [],
      replica: null,
      include: record.include,
      exclude: record.exclude,
      orphans: record.orphans,
      // What the replica has are this server's own numbers.
      owners: "id",
      compression: "adaptive",
      onFailureSeconds: null,
      startCommand: null,
      ringBytes: defaultRingBytes(workers),
      workers,
    };
    await this.#parts.capture(settings, { epoch: record.epoch, binds });
  }

  async #start(command: string, target: TargetJob, paths: readonly string[]): Promise<ShellResult> {
    const { name } = target.record;
    const [first = ""] = paths;
    const result = await runShell(command, {
      environment: { STANDIN_JOB: name, STANDIN_PATH: first, STANDIN_PATHS: paths.join("\n") },
      logFile: target.startLog,
      timeoutMs: START_MS,
    });
    const { code, output } = result;
    const message =
      code === null
        ? "the start command did not end in time, or by a signal"
        : `the start command ended with ${code}`;
    this.#parts.log[code === 0 ? "info" : "error"]("start-command", message, { name, output });
    return result;
  }
}
