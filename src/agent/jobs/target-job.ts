/**
 * The receiving end of one job: its log, its ring with applier, its replica, and who may send.
 * Everything that was acknowledged as durable is in the log or in the replica, whatever is killed.
 */
import { randomBytes } from "node:crypto";

import { assert } from "../../base/assert.ts";
import { StandinError } from "../../base/errors.ts";
import { Ring } from "../../journal/ring.ts";
import { SegmentLog } from "../../journal/segment-log.ts";
import type { Clock } from "../../platform/clock.ts";
import { Pace } from "../pace.ts";
import {
  existsSync,
  listNames,
  makePrivateFolder,
  readJsonIfPresent,
  removeEmptyFolder,
  removeTree,
  shortHash,
  writeFileAtomic,
} from "../../platform/files.ts";
import { folderLogFiles } from "../../platform/log-files.ts";
import type { Onward, StreamHello, StreamWelcome } from "../../protocol/stream-messages.ts";
import { RECENT_BYTES } from "../../replication/stream-target.ts";
import type { Report } from "../agent-log.ts";
import type { PeerConnection } from "../peer-network.ts";
import { currentBootId } from "../state-directory.ts";
import type { ConnectOnward } from "./onward-link.ts";
import { onwardHello, withLimits, withoutTarget } from "./onward-settings.ts";
import { createTargetRing, ringPath, TargetLife } from "./target-life.ts";
import { ITSELF, notComplete, notTheSource, stopped } from "./target-errors.ts";
import { findUnfinished } from "./unfinished.ts";
import { checkpointPath, recoverRing, usableCheckpoint } from "./target-recovery.ts";
import {
  parseTargetRecord,
  type PromotionRecord,
  replicaOf,
  type TargetRecord,
} from "./target-record.ts";

const TRIM_MS = 500;
/** After a failure, of which the operator is told each time. */
const TRIM_AGAIN_MS = 10_000;
const DRAIN_MS = 600_000;
/** As many segments as are trimmed together, behind a checkpoint of 256 MiB. */
const SPARE_SEGMENTS = 5;

export interface TargetJobParts {
  readonly clock: Clock;
  readonly report: Report;
  /** The log failed: the job is to be stopped and opened anew. */
  readonly onBroken: () => void;
  readonly connectOnward: ConnectOnward;
}

type KnownOfReplica = Pick<TargetRecord, "missedBehind" | "replicaLsn">;

const NOTHING_KNOWN: KnownOfReplica = { missedBehind: 0, replicaLsn: null };

export class TargetJob {
  readonly #home: string;
  readonly #parts: TargetJobParts;
  readonly #clock: Clock;
  readonly #report: Report;
  #log: SegmentLog;
  #record: TargetRecord;
  #life: TargetLife | undefined;
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #switching: Promise<void> = Promise.resolve();

  private constructor(home: string, log: SegmentLog, record: TargetRecord, parts: TargetJobParts) {
    this.#home = home;
    this.#log = log;
    this.#record = record;
    this.#parts = parts;
    this.#clock = parts.clock;
    this.#report = parts.report;
  }

  /** A record that is kept in `home`, or undefined. */
  static load(home: string): TargetRecord | undefined {
    return parseTargetRecord(readJsonIfPresent(`${home}/record.json`));
  }

  /** @throws {StandinError} when the log cannot be read */
  static async open(home: string, record: TargetRecord, parts: TargetJobParts): Promise<TargetJob> {
    makePrivateFolder(home);
    makePrivateFolder(record.replica);
    for (const mount of record.mounts) makePrivateFolder(replicaOf(record, mount));
    const log = await openTargetLog(home);
    const job = new TargetJob(home, log, record, parts);
    job.#save({});
    const { promotion } = record;
    if (promotion === null || promotion.lsn === null) await job.#resume();
    job.#running = job.#run();
    return job;
  }

  get record(): TargetRecord {
    return this.#record;
  }
  get life(): TargetLife | undefined {
    return this.#life;
  }

  /** The highest of which is known here; a source with a lower one must not write. */
  get epochKnown(): number {
    const { epoch, superseded } = this.#record;
    return superseded === null ? epoch : epoch + 1;
  }

  /** The replica is the source's history up to here, if it is complete. */
  get appliedLsn(): number {
    const applied = this.#life?.ring.applied ?? 0;
    const { replicaLsn, missedBehind } = this.#record;
    return replicaLsn !== null && applied === missedBehind ? replicaLsn : applied;
  }

  /**
   * What was received is the source's history up to one LSN. That is so although changes were
   * missed, for as long as nothing that was made behind them has come.
   */
  get isComplete(): boolean {
    const { due, missedBehind } = this.#record;
    if (this.#life === undefined || due === "mirror") return false;
    if (missedBehind === null) return due === "none";
    return missedBehind > 0 && this.#life.stream.received <= missedBehind;
  }

  get #shmDir(): string {
    // A machine may run several agents that receive one job.
    return `/dev/shm/standin-to-${this.#record.job}-${shortHash(this.#home)}`;
  }

  /** The ring of before the agent was restarted is still there, unless the machine was, too. */
  async #resume(): Promise<void> {
    const { stream, bootId } = this.#record;
    if (stream === null) return;
    const path = ringPath(this.#shmDir);
    const isSame = bootId === currentBootId() && existsSync(path);
    await this.#begin(isSame ? Ring.open(path) : this.#recover());
  }

  /** The machine was restarted: what was applied since the last checkpoint is applied again. */
  #recover(): Ring {
    const bootId = currentBootId();
    const { name: job, due } = this.#record;
    const head = usableCheckpoint(this.#home, this.#log);
    if (head === undefined) {
      this.#report("warning", "there is no checkpoint to go on from; everything is compared", {
        job,
      });
      const ring = this.#newRing(this.#log.lastLsn + 1);
      this.#save({ bootId, due: due === "mirror" ? "mirror" : "resync", missedBehind: 0 });
      return ring;
    }
    const replayTo = this.#log.durableLsn;
    const ops = replayTo - head.lsn;
    this.#report("info", "the machine was restarted: going on from a checkpoint", { job, ops });
    const ring = recoverRing(this.#shmDir, head);
    this.#save({ bootId, replayTo });
    return ring;
  }

  #newRing(firstLsn: number): Ring {
    makePrivateFolder(this.#shmDir);
    return createTargetRing(this.#shmDir, firstLsn);
  }

  async #begin(ring: Ring): Promise<void> {
    const life = new TargetLife(
      {
        clock: this.#clock,
        log: this.#log,
        record: this.#record,
        shmDir: this.#shmDir,
        applierLog: `${this.#home}/applier.log`,
        checkpointPath: checkpointPath(this.#home),
        ownersPath: `${this.#home}/owners.json`,
        report: (level, message, fields) => {
          this.#report(level, message, { job: this.#record.name, ...fields });
        },
        save: (change) => this.#save(change),
        onNotice: ({ kind, path, action }) => {
          this.#report("warning", `${String(path)}: ${String(kind)} (${String(action)})`, {
            job: this.#record.name,
          });
        },
        onBroken: (error) => {
          this.#report("warning", `the log must be opened anew: ${error.message}`, {
            job: this.#record.name,
          });
          this.#parts.onBroken();
        },
        onConnection: ({ connected, why }) => {
          const message = connected
            ? "the source is connected"
            : `the connection has ended: ${why}`;
          this.#report("info", message, { job: this.#record.name });
        },
        connectOnward: this.#parts.connectOnward,
        onwardHello: () => onwardHello(this.#record, this.#log),
        onPromotedOnward: (superseded) => this.#save({ superseded }),
      },
      ring,
    );
    await life.start(this.#record);
    this.#life = life;
  }

  /** Of the ways to targets further on; kept. @throws {StandinError} `INVALID_SCHEDULE` */
  setOnwardLimits(limits: Onward | null): void {
    if (this.#record.onward === null) return;
    const onward = withLimits(this.#record.onward, limits);
    this.#save({ onward });
    this.#life?.onward.setLimits(onward);
  }

  /** A target further on is no target of the job any more. */
  async dropOnward(agent: string): Promise<void> {
    if (this.#record.onward === null) return;
    this.#save({ onward: withoutTarget(this.#record.onward, agent) });
    await this.#life?.onward.drop(agent);
  }

  #save(change: Partial<TargetRecord>): void {
    this.#record = { ...this.#record, ...change };
    writeFileAtomic(`${this.#home}/record.json`, `${JSON.stringify(this.#record, undefined, 2)}\n`);
  }

  /**
   * A source wants to send. @throws {StandinError} `NOT_THE_SOURCE`, `EPOCH_OLD`, `JOB_CHANGED`,
   * `SUPERSEDED`
   */
  async accept(connection: PeerConnection, hello: StreamHello): Promise<StreamWelcome> {
    this.#checkSource(connection, hello);
    // With its schedules looked at: what is kept must be of use after each restart.
    const onward = hello.onward === null ? null : withLimits(hello.onward, hello.onward);
    const switched = this.#switching.then(() => this.#follow({ ...hello, onward }));
    this.#switching = switched.catch(() => {});
    await switched;
    this.#refusePromoted(hello);
    const life = this.#life;
    if (life === undefined || this.#stopping.signal.aborted) throw stopped();
    const { connection: number, welcome } = life.stream.open();
    const answer = await welcome;
    if (answer === undefined) {
      if (this.#stopping.signal.aborted) throw stopped();
      throw new StandinError("SUPERSEDED", "another connection of this job took over", {
        hint: ITSELF,
      });
    }
    connection.socket.once("close", () => life.stream.abandon(number));
    void connection.opened.then(
      () => life.stream.attach(number, connection),
      () => life.stream.abandon(number),
    );
    return answer;
  }

  #checkSource({ peer }: PeerConnection, hello: StreamHello): void {
    const { source, name, mounts } = this.#record;
    if (peer.id !== source.id) {
      throw notTheSource(this.#record, `End the job there first: standin unprotect ${name}.`);
    }
    this.#refusePromoted(hello);
    const isOlder = hello.life < this.#record.life;
    const isBehind = hello.stream === this.#record.stream && this.#log.durableLsn > hello.lastLsn;
    if (isOlder || isBehind) {
      throw new StandinError("HELLO_LATE", `an older connection of job ${name} came late`, {
        hint: ITSELF,
      });
    }
    const roots = (list: TargetRecord["mounts"]) => {
      return list.map(({ index, rootIno, folder }) => `${index} ${rootIno} ${folder}`).join();
    };
    if (roots(mounts) !== roots(hello.mounts) && this.#record.stream === hello.stream) {
      throw new StandinError("JOB_CHANGED", `the folders of job ${name} are others than before`, {
        hint: "End the job and protect the folder anew.",
      });
    }
  }

  /** Asked again after each wait: an operator may have promoted it meanwhile. */
  #refusePromoted(hello: StreamHello): void {
    const { promotion, epoch, superseded, name } = this.#record;
    if (promotion === null && superseded === null && hello.epoch >= epoch) return;
    const here = `job ${name} was promoted here (epoch ${epoch}); yours is epoch ${hello.epoch}`;
    throw new StandinError("EPOCH_OLD", superseded ?? here, {
      hint: "Start no application on this server: the data lives on the target now.",
    });
  }

  /** Goes on in the ring that there is, or begins a new one when the source has another stream. */
  async #follow(hello: StreamHello): Promise<void> {
    // Behind the end nobody would stop what is begun here.
    if (this.#stopping.signal.aborted) throw stopped();
    this.#refusePromoted(hello);
    const known = this.#log.durableLsn;
    const isSame = this.#record.stream === hello.stream;
    const isContinued = isSame && hello.firstLsn <= known + 1;
    if (isContinued && this.#life !== undefined) {
      this.#save(settingsOf(hello));
      this.setOnwardLimits(hello.onward);
      return;
    }
    const kept = await this.#endLife(hello);
    if (this.#stopping.signal.aborted) throw stopped();
    try {
      await this.#beginStream(hello, kept);
    } catch (error) {
      // There is no life that could say so; opened anew, it goes on with what it was.
      this.#parts.onBroken();
      throw error;
    }
  }

  /** @returns what is known of the replica */
  async #endLife(hello: StreamHello): Promise<KnownOfReplica> {
    const life = this.#life;
    if (life === undefined) return NOTHING_KNOWN;
    const { name } = this.#record;
    this.#report("info", "the source has begun a new stream; a resync follows", { job: name });
    // What is not applied by then, for example in a pause, the resync brings.
    const isDrained = await life.drain(DRAIN_MS, this.#stopping.signal);
    this.#refusePromoted(hello);
    // Nothing was missed yet, as far as what was received goes: the replica is as it was.
    const isComplete = isDrained && this.isComplete;
    const replicaLsn = this.appliedLsn;
    // At once: nobody may promote what ends.
    this.#life = undefined;
    await life.stop();
    return isComplete ? { missedBehind: hello.firstLsn - 1, replicaLsn } : NOTHING_KNOWN;
  }

  async #beginStream(hello: StreamHello, known: KnownOfReplica): Promise<void> {
    const { firstLsn, stream, onward } = hello;
    // The source counts anew: nothing of it can be continued.
    if (firstLsn <= this.#log.appendedLsn) await this.#renewLog();
    await this.#log.startStream(randomBytes(16), firstLsn);
    const due = this.#record.due === "mirror" ? "mirror" : "resync";
    const bootId = currentBootId();
    this.#save({ ...settingsOf(hello), ...known, stream, onward, due, sourceSaid: null, bootId });
    await this.#begin(this.#newRing(firstLsn));
  }

  async #renewLog(): Promise<void> {
    await this.#log.close();
    removeTree(`${this.#home}/log`);
    this.#log = await openTargetLog(this.#home);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const pace = new Pace();
    let trimAtMs = 0;
    while (!signal.aborted) {
      const life = this.#life;
      if (life !== undefined) {
        life.pump();
        if (this.#clock.monotonicMs() > trimAtMs) {
          // The disk may take its time, and the stream is not to wait for it.
          trimAtMs = Number.POSITIVE_INFINITY;
          void this.#trim(life).then((waitMs) => {
            trimAtMs = this.#clock.monotonicMs() + waitMs;
          });
        }
      }
      const nowMs = this.#clock.monotonicMs();
      if (life?.isCopying === true) pace.press(nowMs);
      await this.#clock.sleep(pace.pauseMs(nowMs)); // see the source's loop
    }
  }

  /** Settles with how long the next time is to wait. */
  async #trim(life: TargetLife): Promise<number> {
    try {
      await life.trim();
      return TRIM_MS;
    } catch (error) {
      this.#report("warning", (error as Error).message, { job: this.#record.name });
      return TRIM_AGAIN_MS;
    }
  }

  /**
   * The end of receiving: nothing is taken from the source any more, and the replicas will be shown
   * at `paths`, in the order of the mounts. Changes nothing when it throws. @throws {StandinError}
   * `NOT_COMPLETE`, `PROMOTED_ELSEWHERE`
   */
  seal(paths: readonly string[], isForced: boolean): void {
    const { due, epoch, superseded } = this.#record;
    if (superseded !== null && !isForced) {
      throw new StandinError("PROMOTED_ELSEWHERE", superseded, {
        hint: "The applications run there. --force gives up what they have written since.",
      });
    }
    if (this.#life === undefined) throw notComplete(this.#record.name, "mirror");
    if (!this.isComplete && !isForced) throw notComplete(this.#record.name, due);
    const at = new Date(this.#clock.wallMs()).toISOString();
    const promotion = { at, paths, isForced, lsn: null, unfinished: null, isDone: false };
    this.#save({ promotion, epoch: epoch + 1 });
    this.#life.stream.seal();
  }

  /**
   * Of a promotion that was begun: applies what was received. @throws {StandinError}
   * `NOT_COMPLETE`, `NOT_APPLIED`
   */
  async applyRest(): Promise<PromotionRecord & { readonly lsn: number }> {
    const { name, promotion, isPaused, due, mounts } = this.#record;
    assert(promotion !== null, "a promotion was begun");
    if (promotion.lsn !== null) return { ...promotion, lsn: promotion.lsn };
    const life = this.#life;
    // A power cut may have come between, and have left no checkpoint to go on from.
    if (life === undefined || !(this.isComplete || promotion.isForced))
      throw notComplete(name, due);
    if (isPaused) this.setPaused(false);
    if (!(await life.drain(DRAIN_MS, this.#stopping.signal))) {
      throw new StandinError("NOT_APPLIED", `the replica of ${name} does not take what is left`, {
        hint: "Look at standin jobs: is its disk full? Then promote again.",
      });
    }
    // What it found after a restart may have made it incomplete.
    if (!(this.isComplete || promotion.isForced)) throw notComplete(name, this.#record.due);
    const lsn = this.appliedLsn;
    await life.stop();
    this.#life = undefined;
    const unfinished = findUnfinished(`${this.#shmDir}/tree`, mounts, promotion.paths);
    const sealed = { ...promotion, lsn, unfinished };
    this.#save({ promotion: sealed });
    removeTree(this.#shmDir);
    return sealed;
  }

  /** The applications have their folder. */
  promotionDone(): void {
    const { promotion } = this.#record;
    assert(promotion !== null, "a promotion was begun");
    this.#save({ promotion: { ...promotion, isDone: true } });
  }

  /** Where the start command's output goes. */
  get startLog(): string {
    return `${this.#home}/start-command.log`;
  }

  setPaused(isPaused: boolean): void {
    this.#save({ isPaused });
    this.#life?.copy.setPaused(isPaused);
  }

  /** Ends everything; what is not applied stays in the log. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#switching;
    await this.#life?.stop();
    this.#life = undefined;
    await this.#log.close();
  }

  /** The job is no more. The replica stays where it is, unless it is not wanted. */
  async remove(deletesReplica: boolean): Promise<void> {
    await this.stop();
    removeTree(this.#shmDir);
    const { replica } = this.#record;
    if (deletesReplica) removeTree(replica);
    for (const name of listNames(this.#home)) {
      const path = `${this.#home}/${name}`;
      if (deletesReplica || path !== replica) removeTree(path);
    }
    removeEmptyFolder(this.#home);
  }
}

/** In `home`, the job's folder. @throws LOG_DAMAGED, LOG_IO, LOG_FULL */
export async function openTargetLog(home: string): Promise<SegmentLog> {
  const files = await folderLogFiles(`${home}/log`);
  return SegmentLog.open(files, { sparesMax: SPARE_SEGMENTS, recentBytes: RECENT_BYTES });
}

/** What the operator may have changed since. */
function settingsOf(hello: StreamHello): Partial<TargetRecord> {
  const { name, life, epoch, mounts, include, exclude, orphans } = hello;
  const { onFailureSeconds, startCommand } = hello;
  return { name, life, epoch, mounts, include, exclude, orphans, onFailureSeconds, startCommand };
}
