/**
 * The sending end of one job: its folders mounted and captured, its ring, and a stream to each
 * target. The applications' writes never wait for a target.
 */
import { randomBytes } from "node:crypto";

import { StandinError } from "../../base/errors.ts";
import type { KeeperEvent } from "../../capture/keeper-config.ts";
import { CommandQueue } from "../../journal/command-queue.ts";
import { RecordingState, Ring } from "../../journal/ring.ts";
import { HeaderAt } from "../../journal/ring-layout.ts";
import { SegmentLog } from "../../journal/segment-log.ts";
import type { Clock } from "../../platform/clock.ts";
import {
  existsSync,
  makePrivateFolder,
  readJsonIfPresent,
  removeTree,
  writeFileAtomic,
} from "../../platform/files.ts";
import { identify } from "../../platform/processes.ts";
import { folderLogFiles } from "../../platform/log-files.ts";
import { machineSurroundings } from "../../preflight/machine-surroundings.ts";
import { preflight, SOURCE_CHECKS } from "../../preflight/preflight.ts";
import {
  type Onward,
  parseStreamWelcome,
  type SourceState,
  type StreamHello,
} from "../../protocol/stream-messages.ts";
import { OpStore } from "../../replication/op-store.ts";
import type { Report } from "../agent-log.ts";
import { CaptureSupervisor, type CaptureStart } from "../capture-supervisor.ts";
import { InstanceRegistry } from "../instance-registry.ts";
import { restrictionsOf } from "../mount-restrictions.ts";
import { Pace } from "../pace.ts";
import { PeerRefusedError, type PeerNetwork } from "../peer-network.ts";
import { RingGauge, type RingSample } from "../ring-gauge.ts";
import { ringSizes } from "../ring-sizes.ts";
import { timesSettled } from "../settled-times.ts";
import { currentBootId, StateDirectory } from "../state-directory.ts";
import { type JobSettings, parseSourceRecord, type SourceRecord } from "./source-record.ts";
import { putReplicaAt } from "./promotion-path.ts";
import { askTarget } from "./job-requests.ts";
import { JobTargets } from "./job-targets.ts";
import type { LimitChange } from "./target-settings.ts";
import type { TargetView } from "./target-view.ts";

/**
 * How often the record learns the last LSN, and by how much another ring begins beyond it: more
 * than can be captured between.
 */
const SEEN_MS = 10_000;
const LSN_JUMP = 1 << 26;
/** What waits for a target must not fill the disk that other things need. */
const SPILL_LIMITS = { bytesMax: 2 ** 37, reserveBytes: 2 ** 30 };
/** Ops are recorded again when the ring has this much room. */
const RECORD_BELOW = 0.5;
/** A target that does not answer for so long before a mount is not waited for. */
const EPOCH_MS = 3000;
const ONWARD_MS = 5000;
/**
 * Changes were missed, and others behind them may be recorded already: for targets these are two
 * gaps, of which only the second is known to lie behind all that was recorded.
 */
const GAP_ANYWHERE = 2;

export interface SourceParts {
  readonly clock: Clock;
  readonly network: PeerNetwork;
  readonly report: Report;
  readonly allowOpenFiles: boolean;
}

export class SourceJob {
  readonly #home: string;
  readonly #parts: SourceParts;
  readonly #registry = new InstanceRegistry();
  #record: SourceRecord;
  readonly #ring: Ring;
  readonly #gauge: RingGauge;
  readonly #queue: CommandQueue;
  readonly #capture: CaptureSupervisor;
  readonly #store: OpStore;
  readonly #spill: SegmentLog;
  readonly #targets: JobTargets;
  readonly #stopping = new AbortController();
  #loops: Promise<void>[] = [];
  /** The log of spilled ops is being written or trimmed. */
  #diskWork: Promise<void> | undefined;

  private constructor(
    home: string,
    record: SourceRecord,
    ring: Ring,
    spill: SegmentLog,
    parts: SourceParts,
  ) {
    this.#home = home;
    this.#record = record;
    this.#parts = parts;
    this.#ring = ring;
    this.#gauge = new RingGauge(ring);
    this.#queue = new CommandQueue(ring);
    this.#spill = spill;
    this.#store = new OpStore(ring, spill);
    this.#capture = new CaptureSupervisor({
      clock: parts.clock,
      state: StateDirectory.open(home),
      config: {
        shmDir: shmDirOf(record.id),
        workers: record.workers,
        mounts: record.mounts.map(({ index, path }) => ({ index, path, ...restrictionsOf(path) })),
        // The target cannot rely on what the other file holds there after a power cut.
        recordCopies: false,
      },
      onEvent: (event) => this.#onKeeperEvent(event),
      onLost: () => this.#onLost(),
    });
    this.#targets = new JobTargets({
      record,
      clock: parts.clock,
      store: this.#store,
      connect: (agent, onward, signal) => this.#connect(agent, onward, signal),
      ringState: () => this.#ringState(),
      onRecord: (gaps) => {
        if (this.#mayRecord(gaps)) this.#ring.recording = RecordingState.on;
      },
      onPromoted: (why) => {
        this.fence(why).catch(({ message }: Error) => {
          parts.report("warning", `cannot give way: ${message}`, { job: record.name });
        });
      },
      report: (level, message, agent) => parts.report(level, message, { job: record.name, agent }),
    });
  }

  static load(home: string): SourceRecord | undefined {
    return parseSourceRecord(readJsonIfPresent(`${home}/job.json`));
  }

  static async open(home: string, record: SourceRecord, parts: SourceParts): Promise<SourceJob> {
    makePrivateFolder(home);
    const shmDir = shmDirOf(record.id);
    const path = `${shmDir}/ring`;
    const isKept = record.bootId === currentBootId() && existsSync(path);
    const spill = await SegmentLog.open(await folderLogFiles(`${home}/spill`), SPILL_LIMITS);
    if (isKept) return new SourceJob(home, record, Ring.open(path), spill, parts);
    removeTree(shmDir);
    makePrivateFolder(shmDir);
    const isFirst = record.bootId === "";
    const firstLsn = isFirst ? 1 : record.lsnSeen + LSN_JUMP;
    const ring = Ring.create(path, ringSizes(record.ringBytes, record.workers), firstLsn);
    const stream = randomBytes(16).toString("hex");
    const life = record.life + 1;
    const renewed = { ...record, bootId: currentBootId(), stream, life, lsnSeen: firstLsn };
    return new SourceJob(home, renewed, ring, spill, parts);
  }

  get record(): SourceRecord {
    return this.#record;
  }
  get targets(): readonly TargetView[] {
    return this.#targets.all;
  }
  get capture(): CaptureSupervisor {
    return this.#capture;
  }
  get store(): OpStore {
    return this.#store;
  }
  get lastLsn(): number {
    return this.#ring.head;
  }

  /** Settles when the ops up to now carry true times, those that follow included. */
  timesSettled(timeoutMs: number, signal: AbortSignal): Promise<void> {
    return timesSettled(this.#ring, this.#parts.clock, timeoutMs, signal);
  }

  sample(): RingSample {
    return this.#gauge.sample();
  }

  /** @throws {StandinError} when the folders cannot be mounted, or may not be. */
  async start(): Promise<CaptureStart> {
    const { binds, mounts } = this.#record;
    const verdict = this.#capture.assess();
    const isKept = verdict === "alive" || verdict === "adopt";
    if (!isKept) {
      await this.#askForEpoch();
      await this.#capture.clearDeadMounts();
      for (const [i, bind] of binds.entries()) putReplicaAt(bind, mounts[i]?.path ?? "");
      await this.#passPreflight();
    }
    this.#announce();
    // Before the mount: an agent that is killed within must find the job that it belongs to.
    this.#save({ bootId: currentBootId() });
    // What was written while nobody captured is found by a comparison.
    if (!isKept) this.#declareGap();
    const start = await this.#capture.start(this.#stopping.signal);
    if (isKept && start === "mounted") this.#declareGap(GAP_ANYWHERE);
    this.#loops = [this.#capture.run(this.#stopping.signal), this.#run()];
    return start;
  }

  /**
   * Before the folders are mounted anew, applications may not have been started yet: the moment to
   * learn that another server has taken over. @throws {StandinError} `FENCED`
   */
  async #askForEpoch(): Promise<void> {
    const { id, name, epoch, targets, fenced } = this.#record;
    if (fenced !== null) throw new StandinError("FENCED", fenced);
    const { network, report } = this.#parts;
    for (const target of targets) {
      const asked = askTarget(network, target, "job-epoch", { job: id }, EPOCH_MS);
      const answer = await asked.catch((error: Error) => {
        const message = `cannot ask whether the job was promoted elsewhere: ${error.message}`;
        report("warning", message, { job: name });
        return undefined;
      });
      if (Number(answer?.epoch ?? 0) <= epoch) continue;
      const why = `job ${name} was promoted on another server; applications must not start here`;
      this.#save({ fenced: why });
      throw new StandinError("FENCED", why);
    }
  }

  async #passPreflight(): Promise<void> {
    const lock = await this.#registry.lock(this.#parts.clock);
    try {
      const { mounts } = this.#record;
      for (const { path, index } of mounts) {
        const surroundings = machineSurroundings(this.#registry.othersThan(this.#record.id));
        const { allowOpenFiles } = this.#parts;
        const others = mounts.filter((mount) => mount.index !== index);
        const siblings = others.map((mount) => mount.path);
        const plan = { source: path, replica: this.#home, allowOpenFiles, siblings };
        for (const { level, code, message, hint } of preflight(plan, surroundings, SOURCE_CHECKS)) {
          if (level === "error") throw new StandinError(code, message, { hint });
          this.#parts.report("warning", `${message}. ${hint}`, { job: this.#record.name, code });
        }
      }
      // Under the lock: of two jobs that start at one moment, the second one sees the first.
      this.#announce();
    } finally {
      lock.release();
    }
  }

  #announce(): void {
    const agent = identify(process.pid);
    if (agent === undefined) return;
    const { id, mounts } = this.#record;
    const [source = "", ...siblings] = mounts.map(({ path }) => path);
    this.#registry.add({ id, stateDirectory: this.#home, source, siblings, replica: null, agent });
  }

  #save(change: Partial<SourceRecord>): void {
    this.#record = { ...this.#record, ...change };
    writeFileAtomic(`${this.#home}/job.json`, `${JSON.stringify(this.#record, undefined, 2)}\n`);
  }

  #onKeeperEvent(event: KeeperEvent): void {
    const { name } = this.#record;
    if (event.event === "engine-died") {
      this.#parts.report("warning", "the capture engine was replaced", { job: name });
    }
    // Captured again since then, or all along in another folder.
    if (event.event === "remounted") this.#onLost(GAP_ANYWHERE);
  }

  /** Changes were missed: what is not recorded is found by a comparison. */
  #onLost(count = 1): void {
    this.#declareGap(count);
    this.#parts.report("warning", "the mount was lost: a resync follows", {
      job: this.#record.name,
    });
  }

  #declareGap(count = 1): void {
    if (this.#ring.recording === RecordingState.off) return;
    this.#ring.addWord(HeaderAt.gaps, count);
    this.#ring.recording = RecordingState.gap;
  }

  #ringState(): SourceState {
    return {
      recording: this.#ring.recording,
      gaps: this.#ring.word(HeaderAt.gaps),
      engineGeneration: this.#ring.word(HeaderAt.engineGeneration),
      // Last: what was recorded before the gap is not above it.
      lsn: this.#ring.head,
    };
  }

  async #connect(agent: string, onward: Onward | null, signal: AbortSignal) {
    const { id, name, stream, epoch, mounts, include, exclude, orphans, replica } = this.#record;
    const { onFailureSeconds, startCommand, life, owners } = this.#record;
    const lastLsn = this.#store.look();
    const { firstLsn } = this.#store;
    const hello: StreamHello = {
      job: id,
      name,
      stream,
      life,
      firstLsn,
      lastLsn,
      epoch,
      mounts,
      include,
      exclude,
      orphans,
      owners,
      onFailureSeconds,
      startCommand,
      onward,
    };
    try {
      const parameters = { ...hello, replica };
      const via = this.#record.targets.find((target) => target.agent === agent)?.via ?? undefined;
      const options = { signal, ...(via === undefined ? {} : { localAddress: via }) };
      const connection = await this.#parts.network.connect(agent, "stream", parameters, options);
      return { connection, welcome: parseStreamWelcome(connection.welcome) };
    } catch (error) {
      if (error instanceof PeerRefusedError && error.peerCode === "EPOCH_OLD") {
        await this.fence(error.message);
      }
      throw error;
    }
  }

  /** It captures these very folders, and has no target. */
  capturesForNobody(paths: readonly string[]): boolean {
    const { mounts, targets, fenced } = this.#record;
    if (fenced !== null || targets.length > 0 || mounts.length !== paths.length) return false;
    return mounts.every(({ path }) => paths.includes(path));
  }

  /** From its next start on. What its folders and its engine are made of stays. */
  configure(settings: JobSettings): void {
    const { paths, ringBytes, workers } = this.#record;
    this.#save({ ...settings, paths, ringBytes, workers });
  }

  /** Of these targets, from now on and after restarts. */
  async setLimit(agents: ReadonlySet<string>, change: LimitChange): Promise<void> {
    const targets = this.#record.targets.map((target) => {
      return agents.has(target.agent) ? { ...target, ...change } : target;
    });
    this.#save({ targets });
    for (const { agent, onward } of this.#targets.setLimits(targets, agents)) {
      // One that is away hears it when it is connected again.
      const body = { job: this.#record.id, onward };
      await this.#parts.network
        .request(agent, "job-onward", body, ONWARD_MS)
        .catch((error: Error) => {
          const message = `the limit holds when it is connected again: ${error.message}`;
          this.#parts.report("warning", message, { job: this.#record.name, agent });
        });
    }
  }

  /** A newer epoch is known: this server must not write any more. */
  async fence(why: string): Promise<void> {
    if (this.#record.fenced === null) {
      this.#save({ fenced: why });
      this.#parts.report("warning", `unmounting: ${why}`, { job: this.#record.name });
    }
    // Also when it is said again: it may be mounted anew, or could not be unmounted.
    if (this.#capture.known.isMounted) await this.#capture.unmount(() => {});
  }

  #mayRecord(gaps: number): boolean {
    if (this.#ring.recording === RecordingState.on) return false;
    return gaps === this.#ring.word(HeaderAt.gaps) && this.sample().fill < RECORD_BELOW;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const { clock } = this.#parts;
    const pace = new Pace();
    let seen = 0;
    let seenAtMs = 0;
    while (!signal.aborted) {
      const available = this.#store.look();
      this.#targets.pump(available, this.#ring.head);
      if (this.#targets.giveQuestions(this.#queue) > 0) this.#queue.wake();
      this.#release();
      const nowMs = clock.monotonicMs();
      if (nowMs > seenAtMs) {
        seenAtMs = nowMs + SEEN_MS;
        if (available > this.#record.lsnSeen) this.#save({ lsnSeen: available });
      }
      // A ring that is only full, of what waits for a target that is away, is in no hurry.
      const isFilling = available > seen && this.#store.isFilling;
      seen = available;
      if (this.#targets.isCopying || isFilling) pace.press(nowMs);
      // Without the signal, whose listeners cost more than the rest of a look at nothing.
      await clock.sleep(pace.pauseMs(nowMs));
    }
  }

  #release(): void {
    const { durable } = this.#targets;
    this.#store.release(durable);
    if (!this.#store.needsDisk) return;
    // Not awaited: senders go on, and the ring is given back, while the disk is slow.
    this.#diskWork ??= this.#workOnDisk(durable).finally(() => (this.#diskWork = undefined));
  }

  async #workOnDisk(durable: number): Promise<void> {
    await this.#store.trim(durable);
    if (this.#store.isCrowded) await this.#store.spill();
  }

  /** The agent stops; applications go on, captured by keeper and engine, until it is back. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled(this.#loops);
    await this.#diskWork;
    await this.#targets.stop();
    await this.#spill.close();
  }

  /** The job is no more: the folders are as they were before. */
  async remove(): Promise<void> {
    // What is mounted there otherwise is another job's.
    if (this.#capture.known.isMounted) await this.#capture.unmount(() => {});
    await this.stop();
    this.#registry.remove(this.#record.id);
    removeTree(shmDirOf(this.#record.id));
    removeTree(this.#home);
  }
}

function shmDirOf(job: string): string {
  return `/dev/shm/standin-from-${job}`;
}
