/**
 * Runs the receiver of one job: takes ops from the source's connection to the log, has them made
 * durable, acknowledges, and gives them to the applier through a ring of the target's own. Also
 * carries the applier's questions to the source, and the state of the source's ring to the applier.
 */
import { CommandQueue } from "../journal/command-queue.ts";
import { RecordingState, type Ring } from "../journal/ring.ts";
import { HeaderAt } from "../journal/ring-layout.ts";
import type { AppendedEntry, SegmentLog } from "../journal/segment-log.ts";
import { validateRecords } from "../model/op-records.ts";
import { StandinError } from "../base/errors.ts";
import type { Clock } from "../platform/clock.ts";
import { pageMemory } from "../platform/page-memory.ts";
import {
  type Frame,
  FrameError,
  FrameType,
  parseJsonPayload,
  PayloadPool,
} from "../protocol/frame.ts";
import {
  type AskTuple,
  parseOwnerNames,
  parseSourceState,
  positionsPayload,
  type SourceState,
  type StreamWelcome,
  type TargetCopy,
  type TargetState,
} from "../protocol/stream-messages.ts";
import type { AnswerRouting } from "./answer-routing.ts";
import type { OwnerMapper } from "./owner-mapper.ts";
import { Receiver, type ReceiverEffect, type ReceiverEvent } from "./receiver.ts";
import { RingFeeder } from "./ring-feeder.ts";
import {
  decompress,
  FrameChannel,
  isCompressed,
  type StreamConnection,
} from "./stream-connection.ts";

/** Received and not yet written: then the source has to wait. */
const QUEUED_BYTES_MAX = 32 << 20;
/**
 * For the log to keep in memory: what may be written between two syncs, and by how much the feeder
 * may be behind what is durable before it reads the files.
 */
export const RECENT_BYTES: number = QUEUED_BYTES_MAX + (16 << 20);
/** Of payloads between two uses: as many as may be queued and kept. */
const POOL_BYTES_MAX = QUEUED_BYTES_MAX + RECENT_BYTES;
const POOL_SHRINK_MS = 10_000;
const ASKS_MAX = 512;
const RECORD_AGAIN_MS = 200;
/** How the copy is, is told not more often. */
const COPY_MS = 50;

export interface StreamTargetOptions {
  readonly clock: Clock;
  readonly log: SegmentLog;
  readonly ring: Ring;
  /** Where files belong to users and groups by name. */
  readonly owners: OwnerMapper | undefined;
  /** Where the ops are sent on, and hold others' answers. */
  readonly routing: AnswerRouting | undefined;
  /** What the source said last, of this stream, before the agent was started. */
  readonly sourceSaid: SourceState | null;
  /** It has said something new. Called before ops behind it are taken. */
  readonly onSource: (state: SourceState) => void;
  /** Changes were missed behind this op; 0: nobody knows where. As onSource. */
  readonly onGap: (behind: number) => void;
  /** How the copy is, for the source. */
  readonly copy: () => TargetCopy;
  readonly onChange: (change: { readonly connected: boolean; readonly why: string }) => void;
  /** The log takes or gives nothing any more: it must be opened anew, and with it all of this. */
  readonly onBroken: (error: Error) => void;
}

export class StreamTarget {
  readonly #options: StreamTargetOptions;
  readonly #receiver: Receiver;
  readonly #feeder: RingFeeder;
  readonly #queue: CommandQueue;
  readonly #pool = new PayloadPool(POOL_BYTES_MAX, pageMemory);
  readonly #channels = new Map<number, FrameChannel>();
  readonly #welcomes = new Map<number, (welcome: StreamWelcome | undefined) => void>();
  readonly #stopping = new AbortController();
  #connections = 0;
  #current = 0;
  #batch: AppendedEntry | undefined;
  #source: SourceState | undefined;
  /** Of the source, as it last said, whatever of it was reached. */
  #gapsHeard: number;
  /** What was last said, whatever of it was reached. */
  #sourceSaid: SourceState | undefined;
  /** What the source has said, of a moment that the replica has not reached. */
  #sourceAhead: SourceState | undefined;
  /** The state in hand was said on this connection, not an earlier one. */
  #isSourceKnown = false;
  #recordAtMs = Number.NEGATIVE_INFINITY;
  #copySent = "";
  #copyAtMs = Number.NEGATIVE_INFINITY;
  #shrunkAtMs = Number.NEGATIVE_INFINITY;
  #wasAttached = false;
  #problem: string | undefined;
  #isSealed = false;
  /** The log does not do what it should: nothing is decided any more until it is opened anew. */
  #isBroken = false;
  #feeding: Promise<void> = Promise.resolve();

  constructor(options: StreamTargetOptions) {
    const { log, ring, clock, owners, routing } = options;
    this.#options = options;
    // First: it puts the ring in order, and so may change its head.
    this.#feeder = new RingFeeder(log, ring, clock, { owners, routing });
    this.#receiver = new Receiver(Math.max(log.durableLsn, ring.head), ring.applied);
    this.#queue = new CommandQueue(ring);
    this.#gapsHeard = ring.word(HeaderAt.gaps);
    this.#sourceSaid = options.sourceSaid ?? undefined;
    log.onDone = ({ payload }) => this.#pool.giveBack(payload);
  }

  get isConnected(): boolean {
    return this.#receiver.isConnected;
  }
  get durable(): number {
    return this.#receiver.durable;
  }
  get received(): number {
    return this.#receiver.received;
  }
  /** Ops that were sent again, and were there already. */
  get duplicates(): number {
    return this.#receiver.duplicates;
  }
  /** What the source said last; undefined while it has said nothing of this stream. */
  get sourceSaid(): SourceState | undefined {
    return this.#sourceSaid;
  }
  /** Why the log does not take or give ops, in words. */
  get problem(): string | undefined {
    return this.#problem;
  }

  start(): void {
    this.#feeding = this.#feeder.run(this.#stopping.signal).catch((error: unknown) => {
      this.#break(error);
    });
  }

  /**
   * A source has said hello. Settles with the welcome when what it sent before is durable, with
   * undefined when the connection was given up meanwhile, or nothing is taken any more. When the
   * welcome was sent, {@link attach} the connection.
   */
  open(): { readonly connection: number; readonly welcome: Promise<StreamWelcome | undefined> } {
    this.#connections += 1;
    const connection = this.#connections;
    if (this.#isClosed) return { connection, welcome: Promise.resolve(undefined) };
    const welcome = new Promise<StreamWelcome | undefined>((resolve) => {
      this.#welcomes.set(connection, resolve);
    });
    this.#step({ kind: "opened", connection });
    return { connection, welcome };
  }

  /** A connection that was opened before the end, but is to be used behind it, is ended. */
  attach(connection: number, stream: StreamConnection): void {
    if (this.#isClosed) {
      stream.socket.destroy();
      this.abandon(connection);
      return;
    }
    this.#copySent = "";
    this.#wasAttached = true;
    this.#sourceAhead = undefined;
    this.#isSourceKnown = false;
    this.#current = connection;
    // Questions that were under way on an earlier connection are lost: all are asked again.
    this.#queue.clear();
    this.#options.ring.addWord(HeaderAt.engineGeneration, 1);
    const channel = new FrameChannel(stream, {
      onFrame: (frame) => this.#onFrame(connection, frame),
      onDrain: () => {},
      onClose: (why) => {
        this.#channels.delete(connection);
        if (connection === this.#current) this.#options.onChange({ connected: false, why });
        this.#step({ kind: "closed", connection });
      },
    });
    stream.parser.pool = this.#pool;
    this.#channels.set(connection, channel);
    channel.sendJson(FrameType.asks, { recall: true } satisfies TargetState);
    this.#options.onChange({ connected: true, why: "" });
  }

  /** No source is listened to any more. */
  get #isClosed(): boolean {
    return this.#isSealed || this.#isBroken || this.#stopping.signal.aborted;
  }

  /** Nothing more is taken; what was received becomes durable and is fed to the ring. */
  seal(): void {
    this.#isSealed = true;
    this.#sourceAhead = undefined;
    for (const channel of this.#channels.values()) channel.close("the replica was promoted");
  }

  /**
   * When the source last said anything, by the monotonic clock; undefined when it was never
   * connected. A machine that lost its power does not close its connections.
   */
  get heardAtMs(): number | undefined {
    return this.#wasAttached ? this.#receiver.heardAtMs : undefined;
  }

  /** The welcome could not be sent. */
  abandon(connection: number): void {
    this.#step({ kind: "closed", connection });
  }

  /** Called often: as ops are applied, and as time passes. */
  pump(): void {
    if (this.#stopping.signal.aborted) return;
    this.#step({ kind: "applied", lsn: this.#options.ring.applied });
    this.#shrinkPool();
    this.#reachSource();
    const channel = this.#channels.get(this.#current);
    if (channel === undefined || channel.isClosed) return;
    this.#askForRecording(channel);
    if (this.#isAnswering) this.#sendAsks(channel);
    this.#sendCopy(channel);
  }

  /** To the source, if it is connected; else it is lost. */
  tell(state: TargetState): void {
    const channel = this.#channels.get(this.#current);
    if (channel !== undefined && !channel.isClosed) channel.sendJson(FrameType.asks, state);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    // A write may still be under way when another life of the target reads the log.
    this.#options.log.onDone = undefined;
    for (const channel of this.#channels.values()) channel.close("the target was stopped");
    for (const resolve of this.#welcomes.values()) resolve(undefined);
    this.#welcomes.clear();
    await this.#feeding;
  }

  /** Not behind the end: a log that is closed makes nothing durable, however often it is asked. */
  #step(event: ReceiverEvent): void {
    if (this.#isBroken || this.#stopping.signal.aborted) return;
    const nowMs = this.#options.clock.monotonicMs();
    for (const effect of this.#receiver.step(event, nowMs)) this.#perform(effect);
  }

  #perform(effect: ReceiverEffect): void {
    switch (effect.kind) {
      case "append":
        this.#append();
        break;
      case "sync":
        void this.#sync();
        break;
      case "welcome": {
        const { connection, durable, applied } = effect;
        this.#welcomes.get(connection)?.({ durable, applied });
        this.#welcomes.delete(connection);
        break;
      }
      case "positions":
        this.#channels
          .get(effect.connection)
          ?.send({ type: FrameType.positions, payload: positionsPayload(effect) });
        break;
      case "close":
        this.#welcomes.get(effect.connection)?.(undefined);
        this.#welcomes.delete(effect.connection);
        this.#channels.get(effect.connection)?.close(effect.reason);
        break;
    }
  }

  async #sync(): Promise<void> {
    try {
      const durable = await this.#options.log.sync();
      this.#problem = undefined;
      this.#step({ kind: "synced", durable });
    } catch (error) {
      this.#problem = (error as Error).message;
      // A full disk is waited for. After other errors nobody knows what the log holds.
      if (!(error instanceof StandinError) || error.code !== "LOG_FULL") return this.#break(error);
      this.#step({ kind: "refused" });
    }
    const isFull = this.#options.log.queuedBytes > QUEUED_BYTES_MAX;
    if (!isFull) this.#channels.get(this.#current)?.resume();
  }

  #append(): void {
    try {
      if (this.#batch !== undefined) this.#options.log.append(this.#batch);
    } catch (error) {
      this.#break(error);
    }
  }

  #break(error: unknown): void {
    this.#isBroken = true;
    this.#problem = (error as Error).message;
    if (!this.#stopping.signal.aborted) this.#options.onBroken(error as Error);
  }

  #onFrame(connection: number, frame: Frame): void {
    switch (frame.type) {
      case FrameType.ops: {
        const isAsSent = !isCompressed(frame);
        const payload = isAsSent ? frame.payload : this.#decompressed(frame);
        const batch = {
          firstLsn: frame.a,
          lastLsn: frame.b,
          payload,
          pages: this.#pool.pagesOf(payload),
          ...(isAsSent ? { payloadChecksum: frame.payloadChecksum } : {}),
        };
        const problem = validateRecords(batch);
        if (problem !== undefined) throw new FrameError(problem);
        this.#batch = batch;
        const { firstLsn: first, lastLsn: last } = batch;
        this.#step({ kind: "ops", connection, first, last, bytes: payload.length });
        this.#batch = undefined;
        if (this.#options.log.queuedBytes > QUEUED_BYTES_MAX) {
          this.#channels.get(connection)?.pause();
        }
        break;
      }
      case FrameType.source:
        this.#step({ kind: "heard", connection });
        if (connection === this.#current) {
          this.#hearSource(parseSourceState(parseJsonPayload(frame.payload)));
        }
        break;
      case FrameType.owners:
        this.#step({ kind: "heard", connection });
        // Before the ops behind it are acknowledged: they may be applied when nobody can be asked.
        this.#options.owners?.learn(parseOwnerNames(parseJsonPayload(frame.payload)));
        break;
      case FrameType.heartbeat:
        this.#step({ kind: "heard", connection });
        break;
      default:
        throw new FrameError(`a source does not send frames of type ${frame.type}`);
    }
  }

  /** Copied to memory that is used again, and can be written from without another copy. */
  #decompressed(frame: Frame): Uint8Array {
    const raw = decompress(frame);
    this.#pool.giveBack(frame.payload);
    const payload = this.#pool.take(raw.length);
    payload.set(raw);
    return payload;
  }

  /** A gap is told of at once, and not when it is reached: the source may be lost before. */
  #hearSource(state: SourceState): void {
    const { gaps, recording, lsn } = state;
    this.#sourceSaid = state;
    this.#sourceAhead = state;
    this.#options.onSource(state);
    if (gaps !== this.#gapsHeard) {
      // Where there were several, or ops are recorded again, some that are missed lie further back.
      const isInFirst = gaps === this.#gapsHeard + 1 && recording === RecordingState.gap;
      this.#gapsHeard = gaps;
      this.#options.onGap(isInFirst ? lsn : 0);
    }
    this.#reachSource();
  }

  /** Changes were missed behind ops that are not applied yet. */
  get isGapAhead(): boolean {
    return this.#gapsHeard !== this.#options.ring.word(HeaderAt.gaps);
  }

  /**
   * A gap lies behind the ops that were there before it, and the pass that is to find what is
   * missing must begin behind them, too: what an op makes while a pass runs is taken for complete.
   */
  #reachSource(): void {
    const { ring } = this.#options;
    const state = this.#sourceAhead;
    if (state === undefined || ring.applied < state.lsn) return;
    this.#sourceAhead = undefined;
    this.#isSourceKnown = true;
    const before = this.#source;
    this.#source = state;
    if (before !== undefined && before.engineGeneration !== state.engineGeneration) {
      ring.addWord(HeaderAt.engineGeneration, 1);
    }
    // What the applier has begun a pass for is asked of the source below. It would begin it again.
    const isBegun = ring.recording === RecordingState.on && ring.word(HeaderAt.gaps) === state.gaps;
    ring.setWord(HeaderAt.gaps, state.gaps);
    if (!(isBegun && state.recording === RecordingState.off)) ring.recording = state.recording;
  }

  /** The applier has begun a pass for what was not recorded. */
  #askForRecording(channel: FrameChannel): void {
    const { ring, clock } = this.#options;
    if (this.#source === undefined || this.#source.recording === RecordingState.on) return;
    if (ring.recording !== RecordingState.on) return;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#recordAtMs < RECORD_AGAIN_MS) return;
    this.#recordAtMs = nowMs;
    channel.sendJson(FrameType.asks, { record: this.#source.gaps } satisfies TargetState);
  }

  /** A source that records nothing drops what it is asked, and nobody would ask it again. */
  get #isAnswering(): boolean {
    return this.#isSourceKnown && this.#source?.recording === RecordingState.on;
  }

  #sendAsks(channel: FrameChannel): void {
    const asks: AskTuple[] = [];
    for (let command = this.#queue.peek(); command !== undefined; command = this.#queue.peek()) {
      const { number, kind, mount, node, offset, length } = command;
      asks.push([number, kind, mount, node, offset, length]);
      this.#queue.pop();
      if (asks.length >= ASKS_MAX) break;
    }
    if (asks.length > 0) channel.sendJson(FrameType.asks, { asks } satisfies TargetState);
  }

  /** A burst's memory is not kept for a job at rest: a target may have many. */
  #shrinkPool(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#shrunkAtMs < POOL_SHRINK_MS) return;
    this.#shrunkAtMs = nowMs;
    this.#pool.shrink();
  }

  #sendCopy(channel: FrameChannel): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#copyAtMs < COPY_MS) return;
    this.#copyAtMs = nowMs;
    const copy = this.#options.copy();
    const text = JSON.stringify(copy);
    if (text === this.#copySent) return;
    this.#copySent = text;
    channel.sendJson(FrameType.asks, { copy } satisfies TargetState);
  }
}
