/** All jobs of an agent, those that it sends and those that it receives: one loop of the agent. */
import { randomBytes } from "node:crypto";

import { StandinError } from "../../base/errors.ts";
import type { Clock } from "../../platform/clock.ts";
import { fileIdentity, listNames, makePrivateFolder, realPath } from "../../platform/files.ts";
import { parseStreamHello } from "../../protocol/stream-messages.ts";
import { rulesOf } from "../applier-config.ts";
import type { AgentLog } from "../agent-log.ts";
import type { FleetStore } from "../fleet-store.ts";
import type { Loop } from "../loop.ts";
import type { PeerConnection, PeerNetwork } from "../peer-network.ts";
import { currentBootId } from "../state-directory.ts";
import { type JobStatus, replicaStatus, sourceStatus } from "./job-status.ts";
import { SourceJob, type SourceParts } from "./source-job.ts";
import { type JobSettings, newSourceRecord, type SourceRecord } from "./source-record.ts";
import { TargetJob } from "./target-job.ts";
import { newTargetRecord } from "./target-record.ts";

export interface JobsParts {
  readonly store: FleetStore;
  readonly network: PeerNetwork;
  readonly log: AgentLog;
  readonly clock: Clock;
  readonly statePath: string;
}

const RETRY_MS = 5000;
const POLL_MS = 20;
const PEER_REQUEST_MS = 30_000;
const VERIFY_MS = 24 * 3_600_000;

export class Jobs implements Loop {
  readonly name = "jobs";
  readonly #parts: JobsParts;
  readonly #sources = new Map<string, SourceJob>();
  readonly #targets = new Map<string, TargetJob>();
  readonly #problems = new Map<string, string>();
  readonly #stopping = new AbortController();
  #opening: Promise<unknown> = Promise.resolve();

  constructor(parts: JobsParts) {
    this.#parts = parts;
    const { network } = parts;
    network.handle("stream", (connection) => this.#accept(connection));
    network.onRequest("job-verify", async ({ job, repair }) => {
      const { copy } = this.#life(String(job));
      return { ...(await copy.verify(repair === true, this.#stopping.signal)) };
    });
    network.onRequest("job-pause", ({ job, paused }) => {
      this.#target(String(job)).setPaused(paused === true);
      return {};
    });
    network.onRequest("job-remove", async ({ job }, peer) => {
      await this.#forget(String(job), peer.id);
      return {};
    });
  }

  async start(): Promise<void> {
    for (const id of listNames(this.#sourcesHome)) await this.#openSource(id);
    for (const id of listNames(this.#targetsHome)) await this.#openTarget(id);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#opening;
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
    if (record === undefined) return;
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
      const { clock, log } = this.#parts;
      const report: SourceParts["report"] = (level, message, fields) =>
        log[level]("replica", message, fields);
      this.#targets.set(id, await TargetJob.open(home, record, clock, report));
      this.#problems.delete(id);
    } catch (error) {
      const { message } = error as Error;
      this.#problems.set(id, message);
      this.#parts.log.error("replica-failed", `replica ${record.name}: ${message}`, { id });
      void this.#retry(() => this.#openTarget(id));
    }
  }

  async #retry(open: () => Promise<void>): Promise<void> {
    const { signal } = this.#stopping;
    await this.#parts.clock.sleep(RETRY_MS, signal);
    if (signal.aborted) return;
    this.#opening = this.#opening.then(open);
  }

  async #accept(connection: PeerConnection): Promise<Record<string, unknown>> {
    const hello = parseStreamHello(connection.parameters);
    const job = this.#targets.get(hello.job) ?? (await this.#newTarget(connection, hello));
    return { ...(await job.accept(connection, hello)) };
  }

  async #newTarget(
    { peer, parameters }: PeerConnection,
    hello: ReturnType<typeof parseStreamHello>,
  ): Promise<TargetJob> {
    if (this.#problems.has(hello.job)) {
      throw new StandinError("REPLICA_FAILED", String(this.#problems.get(hello.job)));
    }
    const home = `${this.#targetsHome}/${hello.job}`;
    const replica = this.#replicaFolder(parameters["replica"], hello.name, home);
    makePrivateFolder(this.#targetsHome);
    makePrivateFolder(home);
    const record = newTargetRecord(hello, peer, replica, currentBootId());
    const { clock, log } = this.#parts;
    const opening = TargetJob.open(home, record, clock, (level, message, fields) =>
      log[level]("replica", message, fields),
    );
    const job = await opening;
    this.#targets.set(hello.job, job);
    log.info("replica-new", `receiving job ${hello.name} from ${peer.name}`, { replica });
    return job;
  }

  #replicaFolder(wanted: unknown, name: string, home: string): string {
    if (typeof wanted !== "string") return `${home}/data`;
    if (!wanted.startsWith("/") || wanted.split("/").includes("..")) {
      throw new StandinError("REPLICA_PATH", `the replica's folder is not absolute: ${wanted}`);
    }
    for (const { record } of this.#targets.values()) {
      if (
        !`${wanted}/`.startsWith(`${record.replica}/`) &&
        !`${record.replica}/`.startsWith(`${wanted}/`)
      ) {
        continue;
      }
      throw new StandinError("REPLICA_IN_USE", `${wanted} holds the replica of ${record.name}`, {
        hint: `Choose another folder for job ${name} with --replica.`,
      });
    }
    return wanted;
  }

  async #forget(job: string, peer: string): Promise<void> {
    const target = this.#targets.get(job);
    if (target === undefined) return;
    if (target.record.source.id !== peer) {
      throw new StandinError("NOT_THE_SOURCE", "only its source may end a job");
    }
    if (target.record.promotedAt !== null) return;
    this.#targets.delete(job);
    await target.remove();
  }

  #target(job: string): TargetJob {
    const found = this.#targets.get(job);
    if (found !== undefined) return found;
    throw new StandinError("UNKNOWN_JOB", "this agent does not receive the job");
  }

  #life(job: string) {
    const { life } = this.#target(job);
    if (life !== undefined) return life;
    throw new StandinError("NOT_CONNECTED", "the job's source was never connected");
  }

  /** @throws {StandinError} `JOB_EXISTS`, `NO_SOURCE`, …: nothing was changed. */
  async protect(settings: JobSettings, allowOpenFiles: boolean): Promise<SourceRecord> {
    const { store } = this.#parts;
    if ([...this.#sources.values()].some(({ record }) => record.name === settings.name)) {
      throw new StandinError("JOB_EXISTS", `there is a job ${settings.name} already`, {
        hint: "Choose another --name, or end that job: standin unprotect.",
      });
    }
    rulesOf(settings);
    const targets = settings.targets.map(({ agent }) => {
      const { id } = store.findMember(agent);
      if (id !== store.identity.id) return { agent: id };
      throw new StandinError("TARGET_IS_SOURCE", "a job's target is another server", {
        hint: "For a second copy on this machine there is standin local.",
      });
    });
    const mounts = settings.paths.map((path, index) => ({ index, ...realFolder(path) }));
    const id = randomBytes(8).toString("hex");
    const home = `${this.#sourcesHome}/${id}`;
    const stream = randomBytes(16).toString("hex");
    const fixed = { id, mounts, stream, bootId: "" };
    const record = newSourceRecord({ ...settings, targets }, fixed);
    makePrivateFolder(this.#sourcesHome);
    const job = await SourceJob.open(home, record, this.#sourceParts(allowOpenFiles));
    try {
      await job.start();
    } catch (error) {
      await job.remove();
      throw error;
    }
    this.#sources.set(id, job);
    return job.record;
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

  async unprotect(job: string): Promise<{ readonly unreachable: readonly string[] }> {
    const source = this.source(job);
    const { id, targets } = source.record;
    this.#sources.delete(id);
    await source.remove();
    const unreachable: string[] = [];
    for (const { agent } of targets) {
      const request = this.#parts.network.request(
        agent,
        "job-remove",
        { job: id },
        PEER_REQUEST_MS,
      );
      await request.catch(() => unreachable.push(this.#nameOf(agent)));
    }
    return { unreachable };
  }

  status(): JobStatus[] {
    return [
      ...[...this.#sources.values()].map((job) => sourceStatus(job, (id) => this.#nameOf(id))),
      ...[...this.#targets.values()].map(replicaStatus),
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
    const lsn = source.lastLsn;
    const { clock } = this.#parts;
    const deadline = clock.monotonicMs() + timeoutMs;
    const isDone = () => {
      const status = sourceStatus(source, (id) => this.#nameOf(id));
      return status.protected && status.targets.every(({ appliedLsn }) => appliedLsn >= lsn);
    };
    while (!isDone()) {
      if (asker.aborted) throw new StandinError("ABORTED", "the flush was given up");
      if (clock.monotonicMs() > deadline) throw this.#flushTimeout(source, lsn, timeoutMs);
      await clock.sleep(POLL_MS, asker);
    }
    return { lsn };
  }

  #flushTimeout(source: SourceJob, lsn: number, timeoutMs: number): StandinError {
    const { reasons, targets } = sourceStatus(source, (id) => this.#nameOf(id));
    const [first] = [...reasons, ...targets.flatMap((target) => target.reasons)];
    const why = first?.message ?? "a target is behind";
    return new StandinError(
      "FLUSH_TIMEOUT",
      `not everything up to LSN ${lsn} was applied within ${timeoutMs / 1000} s: ${why}`,
      { hint: "Look at standin jobs, or give a longer --timeout." },
    );
  }

  async verify(job: string, repair: boolean): Promise<Record<string, unknown>> {
    const { id, targets } = this.source(job).record;
    const answers = await Promise.all(
      targets.map(async ({ agent }) => {
        const body = { job: id, repair };
        const answer = await this.#parts.network.request(agent, "job-verify", body, VERIFY_MS);
        return { agent: this.#nameOf(agent), ...answer };
      }),
    );
    return { targets: answers };
  }

  async setPaused(job: string, isPaused: boolean): Promise<object> {
    const { id, targets } = this.source(job).record;
    for (const { agent } of targets) {
      const body = { job: id, paused: isPaused };
      await this.#parts.network.request(agent, "job-pause", body, PEER_REQUEST_MS);
    }
    return { paused: isPaused };
  }
}

function realFolder(given: string): { path: string; rootIno: number } {
  try {
    const path = realPath(given);
    const { inode, isDirectory } = fileIdentity(path);
    if (isDirectory) return { path, rootIno: inode };
  } catch (cause) {
    throw new StandinError("NO_SOURCE", `${given} cannot be read: ${(cause as Error).message}`, {
      hint: "Name an existing directory.",
      cause,
    });
  }
  throw new StandinError("NOT_A_DIRECTORY", `${given} is not a directory`, {
    hint: "Name the directory that holds the files; single files cannot be protected.",
  });
}
