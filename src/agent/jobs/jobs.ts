/** All jobs of an agent, those that it sends and those that it receives: one loop of the agent. */
import { randomBytes } from "node:crypto";

import { StandinError } from "../../base/errors.ts";
import type { Clock } from "../../platform/clock.ts";
import { listNames, makePrivateFolder } from "../../platform/files.ts";
import { requireLocalAddress } from "../../platform/host.ts";
import { readMountTable } from "../../platform/mount-table.ts";
import { systemNameService } from "../../platform/name-service.ts";
import { machineSurroundings } from "../../preflight/machine-surroundings.ts";
import { parseStreamHello, type StreamHello } from "../../protocol/stream-messages.ts";
import { rulesOf } from "../applier-config.ts";
import type { AgentLog } from "../agent-log.ts";
import type { FleetStore } from "../fleet-store.ts";
import type { Loop } from "../loop.ts";
import type { PeerConnection, PeerNetwork } from "../peer-network.ts";
import { realFolder } from "../real-folder.ts";
import { currentBootId } from "../state-directory.ts";
import { watchForFailures } from "./failure-watch.ts";
import {
  answerJobRequests,
  endReplicas,
  pauseReplicas,
  type Unprotected,
  verifyReplicas,
} from "./job-requests.ts";
import {
  flushTimeout,
  type JobStatus,
  replicaStatus,
  sourceStatus,
  type TargetStatus,
} from "./job-status.ts";
import { connectOnward } from "./onward-settings.ts";
import { Promoter, type Promotion } from "./promotion.ts";
import { refuseTaken, replicaFolders } from "./job-paths.ts";
import { chooseReplicaFolder, refuseCaptured } from "./replica-folder.ts";
import { SourceJob, type SourceParts } from "./source-job.ts";
import { type JobSettings, newSourceRecord, type SourceRecord } from "./source-record.ts";
import { ITSELF, notTheSource } from "./target-errors.ts";
import { TargetJob } from "./target-job.ts";
import { type JobTarget, type LimitChange, resolveTargets } from "./target-settings.ts";
import { newTargetRecord, type TargetRecord } from "./target-record.ts";

export interface JobsParts {
  readonly store: FleetStore;
  readonly network: PeerNetwork;
  readonly log: AgentLog;
  readonly clock: Clock;
  readonly statePath: string;
}

const RETRY_MS = 5000;
const POLL_MS = 20;

export class Jobs implements Loop {
  readonly name = "jobs";
  readonly #parts: JobsParts;
  readonly #sources = new Map<string, SourceJob>();
  readonly #targets = new Map<string, TargetJob>();
  readonly #making = new Map<string, Promise<TargetJob>>();
  readonly #problems = new Map<string, string>();
  readonly #promoter: Promoter;
  readonly #stopping = new AbortController();
  #opening: Promise<unknown> = Promise.resolve();
  #watching: Promise<void> = Promise.resolve();
  #promoting: Promise<void> = Promise.resolve();

  constructor(parts: JobsParts) {
    this.#parts = parts;
    this.#promoter = new Promoter({
      log: parts.log,
      isCaptured: (folder) => this.#isCaptured(folder),
      capture: async (settings, fixed) => {
        await this.#openNew(settings, fixed, true);
      },
    });
    const { network } = parts;
    network.handle("stream", (connection) => this.#accept(connection));
    answerJobRequests({
      network,
      target: (job) => this.#target(job),
      epochOf: (job) => this.#targets.get(job)?.epochKnown ?? 0,
      forget: (job, peer, deletesReplica) => this.#forget(job, peer, deletesReplica),
      signal: this.#stopping.signal,
    });
  }

  async start(): Promise<void> {
    for (const id of listNames(this.#sourcesHome)) await this.#openSource(id);
    for (const id of listNames(this.#targetsHome)) await this.#openTarget(id);
    this.#promoting = this.#finishPromotions();
    this.#watching = watchForFailures({
      ...this.#parts,
      targets: this.#targets,
      promote: (job) => this.promote(job, [], false),
      signal: this.#stopping.signal,
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#opening;
    await this.#watching;
    await this.#promoting;
    const jobs = [...this.#sources.values(), ...this.#targets.values()];
    await Promise.allSettled(jobs.map((job) => job.stop()));
    this.#sources.clear();
    this.#targets.clear();
  }

  get #sourcesHome(): string {
    return `${this.#parts.statePath}/jobs`;
  }
  get #targetsHome(): string {
    return `${this.#parts.statePath}/replicas`;
  }

  #sourceParts(allowOpenFiles: boolean): SourceParts {
    const { clock, network, log } = this.#parts;
    return {
      clock,
      network,
      allowOpenFiles,
      report: (level, message, fields) => log[level]("job", message, fields),
    };
  }

  /** A job that cannot start now is tried again; its applications have the folder meanwhile. */
  async #openSource(id: string): Promise<void> {
    const home = `${this.#sourcesHome}/${id}`;
    const record = SourceJob.load(home);
    if (record === undefined || this.#stopping.signal.aborted) return;
    try {
      const job = await SourceJob.open(home, record, this.#sourceParts(true));
      this.#sources.set(id, job);
      if (record.fenced === null) await job.start();
      this.#problems.delete(id);
    } catch (error) {
      const { message } = error as Error;
      this.#problems.set(id, message);
      this.#parts.log.error("job-failed", `job ${record.name} does not start: ${message}`, { id });
      await this.#sources.get(id)?.stop();
      this.#sources.delete(id);
      void this.#retry(() => this.#openSource(id));
    }
  }

  async #openTarget(id: string): Promise<void> {
    const home = `${this.#targetsHome}/${id}`;
    const record = TargetJob.load(home);
    if (record === undefined) return;
    try {
      await this.#openReplica(id, home, record);
      this.#problems.delete(id);
    } catch (error) {
      const { message } = error as Error;
      this.#problems.set(id, message);
      this.#parts.log.error("replica-failed", `replica ${record.name}: ${message}`, { id });
      void this.#retry(() => this.#openTarget(id));
    }
  }

  async #openReplica(id: string, home: string, record: TargetRecord): Promise<TargetJob> {
    const { clock, log } = this.#parts;
    const report: SourceParts["report"] = (level, message, fields) =>
      log[level]("replica", message, fields);
    const job = await TargetJob.open(home, record, {
      clock,
      report,
      onBroken: () => void this.#reopen(id),
      connectOnward: connectOnward(this.#parts.network),
    });
    this.#targets.set(id, job);
    return job;
  }

  /** Nobody knows what a log holds that failed: it is read again. */
  async #reopen(id: string): Promise<void> {
    const job = this.#targets.get(id);
    if (job === undefined || this.#stopping.signal.aborted) return;
    this.#targets.delete(id);
    this.#problems.set(id, "the log of the replica failed, and is opened anew");
    await job.stop().catch(() => {});
    await this.#retry(() => this.#openTarget(id));
  }

  async #retry(open: () => Promise<void>): Promise<void> {
    const { signal } = this.#stopping;
    await this.#parts.clock.sleep(RETRY_MS, signal);
    if (signal.aborted) return;
    this.#opening = this.#opening.then(open);
  }

  async #accept(connection: PeerConnection): Promise<Record<string, unknown>> {
    const hello = parseStreamHello(connection.parameters);
    const job = this.#targets.get(hello.job) ?? (await this.#newTargetOnce(connection, hello));
    return { ...(await job.accept(connection, hello)) };
  }

  /** A source that connects twice at once makes one replica. */
  async #newTargetOnce(connection: PeerConnection, hello: StreamHello): Promise<TargetJob> {
    const underWay = this.#making.get(hello.job);
    if (underWay !== undefined) return await underWay;
    const making = this.#newTarget(connection, hello);
    this.#making.set(hello.job, making);
    try {
      return await making;
    } finally {
      this.#making.delete(hello.job);
    }
  }

  async #newTarget({ peer, parameters }: PeerConnection, hello: StreamHello): Promise<TargetJob> {
    if (this.#problems.has(hello.job)) {
      throw new StandinError("REPLICA_FAILED", String(this.#problems.get(hello.job)), {
        hint: "Look at standin jobs and the agent's log on the target.",
      });
    }
    const home = `${this.#targetsHome}/${hello.job}`;
    // The port is open before the replicas are: a second one in the same folder would ruin both.
    if (TargetJob.load(home) !== undefined) {
      throw new StandinError("REPLICA_OPENING", `the replica of ${hello.name} is being opened`, {
        hint: ITSELF,
      });
    }
    const taken = [...this.#targets.values()].map(({ record }) => record);
    const replica = chooseReplicaFolder(parameters.replica, hello.name, home, taken);
    refuseCaptured(replica, readMountTable());
    makePrivateFolder(this.#targetsHome);
    makePrivateFolder(home);
    const record = newTargetRecord(hello, peer, replica, currentBootId());
    const job = await this.#openReplica(hello.job, home, record);
    this.#parts.log.info("replica-new", `receiving job ${hello.name} from ${peer.name}`, {
      replica,
    });
    return job;
  }

  /** Where the replica is left; null: nowhere. */
  async #forget(job: string, peer: string, deletesReplica: boolean): Promise<string | null> {
    const target = this.#targets.get(job);
    if (target === undefined) return null;
    if (target.record.source.id !== peer) {
      throw notTheSource(target.record, "Run standin unprotect on that server.");
    }
    const { replica, promotion } = target.record;
    if (promotion !== null) return replica;
    this.#targets.delete(job);
    await target.remove(deletesReplica);
    return deletesReplica ? null : replica;
  }

  #target(job: string): TargetJob {
    const found = this.#targets.get(job);
    if (found !== undefined) return found;
    throw new StandinError("UNKNOWN_JOB", "the target has no replica of the job", {
      hint: "It makes one when the source connects: look at standin jobs on the source.",
    });
  }

  /**
   * Folders that a job captures without a target, as after a promotion, are protected by that job,
   * which goes on. @throws {StandinError} `JOB_EXISTS`, `NO_LOCAL_ADDRESS`, …: nothing was changed.
   */
  async protect(settings: JobSettings, allowOpenFiles: boolean): Promise<SourceRecord> {
    const { store } = this.#parts;
    const paths = settings.paths.map((path) => realFolder(path, path).path);
    const captured = [...this.#sources.values()].find((job) => job.capturesForNobody(paths));
    const others = [...this.#sources.values()].filter((job) => job !== captured);
    if (others.some(({ record }) => record.name === settings.name)) {
      throw new StandinError("JOB_EXISTS", `there is a job ${settings.name} already`, {
        hint: "Choose another --name, or end that job: standin unprotect.",
      });
    }
    rulesOf(settings);
    if (captured === undefined) this.#refuseTaken(paths);
    const targets = resolveTargets(settings, store);
    for (const { via } of targets) if (via !== null) await requireLocalAddress(via);
    if (settings.owners === "name") await systemNameService("user", [0]);
    if (captured !== undefined) return await this.#giveTargets(captured, paths, targets, settings);
    const fixed = { epoch: 1, binds: [] };
    const job = await this.#openNew({ ...settings, targets }, fixed, allowOpenFiles);
    return job.record;
  }

  /** The agent's part of the job begins anew; keeper and engine go on meanwhile. */
  async #giveTargets(
    job: SourceJob,
    paths: readonly string[],
    targets: readonly JobTarget[],
    settings: JobSettings,
  ): Promise<SourceRecord> {
    const { id } = job.record;
    if (this.#sources.get(id) !== job || !job.capturesForNobody(paths)) {
      throw new StandinError("JOB_CHANGED", `${job.record.name} was changed by somebody else`, {
        hint: "Look at standin jobs, and try again.",
      });
    }
    job.configure({ ...settings, targets });
    this.#sources.delete(id);
    const reopened = this.#opening.then(async () => {
      await job.stop().catch(() => {});
      await this.#openSource(id);
    });
    this.#opening = reopened;
    await reopened;
    const problem = this.#problems.get(id);
    if (problem === undefined) return this.source(id).record;
    throw new StandinError("JOB_NOT_STARTED", `${settings.name} does not start: ${problem}`, {
      hint: "It is tried again by itself: look at standin jobs.",
    });
  }

  #refuseTaken(paths: readonly string[]): void {
    const jobs = listNames(this.#sourcesHome).flatMap((id) => {
      const record = SourceJob.load(`${this.#sourcesHome}/${id}`);
      return record?.fenced === null ? [record] : [];
    });
    const replicas = [...this.#targets.values()].map(({ record }) => record);
    const received = replicas.filter(({ promotion }) => promotion === null);
    refuseTaken(paths, jobs, received, machineSurroundings([]));
  }

  /** A job that is new here. When it does not start, nothing of it is left. */
  async #openNew(
    settings: JobSettings,
    fixed: Pick<SourceRecord, "epoch" | "binds">,
    allowOpenFiles: boolean,
  ): Promise<SourceJob> {
    const folders = settings.paths.map((given) => realFolder(given, given));
    const names = replicaFolders(folders.map(({ path }) => path));
    const mounts = folders.map(({ path, inode }, index) => {
      return { index, path, rootIno: inode, folder: names[index] ?? "" };
    });
    const id = randomBytes(8).toString("hex");
    const stream = randomBytes(16).toString("hex");
    const record = newSourceRecord(settings, { id, mounts, stream, bootId: "", ...fixed });
    makePrivateFolder(this.#sourcesHome);
    const home = `${this.#sourcesHome}/${id}`;
    const job = await SourceJob.open(home, record, this.#sourceParts(allowOpenFiles));
    try {
      await job.start();
    } catch (error) {
      await job.remove();
      throw error;
    }
    this.#sources.set(id, job);
    return job;
  }

  /**
   * The replica of a job, by name or id, becomes the place where the applications run.
   * @throws {StandinError} `UNKNOWN_JOB`, and what {@link Promoter.promote} throws
   */
  async promote(job: string, at: readonly string[], isForced: boolean): Promise<Promotion> {
    return await this.#promoter.promote(this.#targetNamed(job), at, isForced);
  }

  #isCaptured(folder: string): boolean {
    return listNames(this.#sourcesHome).some((id) => {
      return SourceJob.load(`${this.#sourcesHome}/${id}`)?.binds.includes(folder) === true;
    });
  }

  /** Promotions that a killed agent had begun. */
  async #finishPromotions(): Promise<void> {
    for (const target of this.#targets.values()) {
      const { promotion, name } = target.record;
      if (promotion === null || promotion.isDone) continue;
      await this.#promoter.finish(target).catch((error: Error) => {
        const message = `the promotion of ${name} cannot be completed: ${error.message}`;
        this.#parts.log.error("promote-failed", `${message}; run standin promote ${name} again`);
      });
    }
  }

  #targetNamed(given: string): TargetJob {
    const matches = [...this.#targets].filter(([id, { record }]) => {
      return id === given || record.name === given;
    });
    const [found] = matches;
    if (matches.length > 1) {
      const ids = matches.map(([id, { record }]) => `${id} from ${record.source.name}`);
      throw new StandinError("AMBIGUOUS_JOB", `several jobs are called ${given}`, {
        hint: `Give the id: ${ids.join(", ")}.`,
      });
    }
    if (found !== undefined) return found[1];
    throw new StandinError("UNKNOWN_JOB", `no job ${given} is received here`, {
      hint: "standin jobs lists them; promote on the server that has the replica.",
    });
  }

  /** By name or id. @throws {StandinError} `UNKNOWN_JOB` */
  source(job: string): SourceJob {
    for (const [id, found] of this.#sources) {
      if (id === job || found.record.name === job) return found;
    }
    throw new StandinError("UNKNOWN_JOB", `no job ${job} is sent from here`, {
      hint: "standin jobs lists them; run the command on the server where the folders are.",
    });
  }

  /**
   * Of some targets of a job, by name or id; none: of all. @throws {StandinError} `UNKNOWN_JOB`,
   * `UNKNOWN_AGENT`, `UNKNOWN_TARGET`
   */
  async setLimit(
    job: string,
    agents: readonly string[],
    change: LimitChange,
  ): Promise<readonly TargetStatus[]> {
    const source = this.source(job);
    const own = source.record.targets.map(({ agent }) => agent);
    const chosen = agents.map((agent) => this.#parts.store.findMember(agent).id);
    const foreign = chosen.find((agent) => !own.includes(agent));
    if (foreign !== undefined) {
      const message = `${this.#nameOf(foreign)} is no target of job ${source.record.name}`;
      throw new StandinError("UNKNOWN_TARGET", message, {
        hint: `Its targets are ${own.map((agent) => this.#nameOf(agent)).join(", ")}.`,
      });
    }
    const ids = new Set(chosen.length === 0 ? own : chosen);
    await source.setLimit(ids, change);
    const { targets } = sourceStatus(source, (id) => this.#nameOf(id));
    return targets.filter((_, index) => ids.has(String(own[index])));
  }

  async unprotect(job: string, deletesReplica: boolean): Promise<Unprotected> {
    const source = this.source(job);
    const { id, binds, mounts } = source.record;
    this.#sources.delete(id);
    await source.remove();
    const nameOf = (agent: string) => this.#nameOf(agent);
    const replicas = await endReplicas(this.#parts.network, source.record, deletesReplica, nameOf);
    const shown = binds.map((replica, i) => ({ replica, path: mounts[i]?.path ?? "" }));
    return { replicas, shown };
  }

  status(): JobStatus[] {
    return [
      ...[...this.#sources.values()].map((job) => sourceStatus(job, (id) => this.#nameOf(id))),
      ...[...this.#targets.values()].map((job) => replicaStatus(job, (id) => this.#nameOf(id))),
    ];
  }

  /** Jobs that do not start, and why. */
  get problems(): ReadonlyMap<string, string> {
    return this.#problems;
  }

  #nameOf(agent: string): string {
    return this.#parts.store.memberById(agent)?.name ?? agent;
  }

  /** Settles when everything written before the call is applied on every target. */
  async flush(job: string, timeoutMs: number, asker: AbortSignal): Promise<{ lsn: number }> {
    const source = this.source(job);
    const { clock } = this.#parts;
    const deadline = clock.monotonicMs() + timeoutMs;
    await source.timesSettled(timeoutMs, asker);
    const lsn = source.lastLsn;
    const look = () => sourceStatus(source, (id) => this.#nameOf(id));
    const isDone = () => {
      const status = look();
      return status.protected && status.targets.every(({ appliedLsn }) => appliedLsn >= lsn);
    };
    while (!isDone()) {
      if (asker.aborted) throw new StandinError("ABORTED", "the flush was given up");
      if (clock.monotonicMs() > deadline) throw flushTimeout(source, look(), lsn, timeoutMs);
      await clock.sleep(POLL_MS, asker);
    }
    return { lsn };
  }

  verify(job: string, repair: boolean): Promise<Record<string, unknown>> {
    const nameOf = (agent: string) => this.#nameOf(agent);
    return verifyReplicas(this.#parts.network, this.source(job).record, repair, nameOf);
  }

  async setPaused(job: string, isPaused: boolean): Promise<object> {
    await pauseReplicas(this.#parts.network, this.source(job).record, isPaused);
    return { paused: isPaused };
  }
}
