/**
 * Promotion: a replica becomes the place where the applications run. Each step is on the disk
 * before the next one, so that an agent that is killed within goes on at its next start; the start
 * command may then run a second time.
 */
import { StandinError } from "../../base/errors.ts";
import { processorCount } from "../../platform/machine.ts";
import { runShell, type ShellResult } from "../../platform/run-shell.ts";
import type { AgentLog } from "../agent-log.ts";
import { defaultWorkers, RING_BYTES_DEFAULT } from "../ring-sizes.ts";
import { checkPromotionPath, putReplicaAt } from "./promotion-path.ts";
import type { JobSettings } from "./source-record.ts";
import type { TargetJob } from "./target-job.ts";
import { replicaOf } from "./target-record.ts";

/** What a start command may take; then it is left alone, and the promotion is complete. */
const START_MS = 600_000;

export interface Promotion {
  readonly name: string;
  readonly path: string;
  /** The replica holds the source's history up to here. */
  readonly lsn: number;
  readonly epoch: number;
  /** What the start command did; null: the job has none. */
  readonly started: ShellResult | null;
}

export interface PromoterParts {
  readonly log: AgentLog;
  /** Whether a job of this agent shows the folder already. */
  readonly isCaptured: (folder: string) => boolean;
  /** Makes a job that shows `bind` at its path, and captures it there. */
  readonly capture: (
    settings: JobSettings,
    fixed: { readonly epoch: number; readonly bind: string },
  ) => Promise<void>;
}

export class Promoter {
  readonly #parts: PromoterParts;
  readonly #underWay = new Map<TargetJob, Promise<Promotion>>();

  constructor(parts: PromoterParts) {
    this.#parts = parts;
  }

  /**
   * Begins, or goes on with what was begun. @throws {StandinError} `PROMOTED`, `NOT_COMPLETE`,
   * `PROMOTE_PATH`: nothing was changed; `NOT_APPLIED` and others: it can be called again
   */
  async promote(target: TargetJob, at: string | undefined, isForced: boolean): Promise<Promotion> {
    const { promotion, mounts } = target.record;
    if (promotion === null) {
      const path = at ?? mounts[0]?.path ?? "";
      checkPromotionPath(path);
      target.seal(path, isForced);
    } else if (promotion.isDone) {
      const { name } = target.record;
      throw new StandinError("PROMOTED", `the replica of ${name} was promoted at ${promotion.at}`, {
        hint: `It is at ${promotion.path}.`,
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
    const { lsn, path } = await target.applyRest();
    const { name, epoch, startCommand } = target.record;
    const { log } = this.#parts;
    log.info("promoted", `the replica of ${name} is promoted`, { path, lsn, epoch });
    await this.#capture(target, path);
    const started = startCommand === null ? null : await this.#start(startCommand, target, path);
    target.promotionDone();
    return { name, path, lsn, epoch, started };
  }

  /** The new primary captures at once: what is protected next needs only the difference. */
  async #capture({ record }: TargetJob, path: string): Promise<void> {
    const [mount] = record.mounts;
    if (mount === undefined) throw new StandinError("JOB_EMPTY", `${record.name} has no folder`);
    const bind = replicaOf(record, mount);
    if (this.#parts.isCaptured(bind)) return;
    putReplicaAt(bind, path);
    const settings: JobSettings = {
      name: `${record.name}-promoted`,
      paths: [path],
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
      ringBytes: RING_BYTES_DEFAULT,
      workers: defaultWorkers(processorCount()),
    };
    await this.#parts.capture(settings, { epoch: record.epoch, bind });
  }

  async #start(command: string, target: TargetJob, path: string): Promise<ShellResult> {
    const { name } = target.record;
    const result = await runShell(command, {
      environment: { STANDIN_JOB: name, STANDIN_PATH: path },
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
