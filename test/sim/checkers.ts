/**
 * What must hold whatever fails. Checkers see only what an outsider could: ops as they were taken
 * at a source, what travels, what a log holds, what was applied. They know nothing of the faults.
 */
import type { Op } from "./messages.ts";
import { Violation } from "./world.ts";

/** One life of a source's ring. */
interface Stream {
  readonly source: string;
  readonly firstLsn: number;
  /** From firstLsn on, as they were written. */
  readonly ops: Op[];
}

/** What is known of one source's copy on one target. */
interface Pair {
  readonly name: string;
  readonly source: string;
  readonly target: string;
  /** The target that sends it the ops; undefined: the source does. */
  readonly before: string | undefined;
  /** The furthest that the target has said is durable. */
  acknowledged: { stream: number; lsn: number };
  /** How often each op was applied since it last was not. By stream and LSN. */
  readonly applied: Map<string, number>;
  lastApplied: { stream: number; lsn: number };
  logged: readonly Op[];
  /** Of the log: found to be right. */
  checked: number;
}

export class Checkers {
  readonly #streams = new Map<string, Stream>();
  readonly #newest = new Map<string, number>();
  readonly #pairs = new Map<string, Pair>();
  /** On each connection of a source: the last op sent, or what the target said it has. */
  readonly #sent = new Map<number, number>();
  readonly #writers = new Map<string, string>();
  readonly #silent: ReadonlySet<string>;
  opsApplied = 0;

  /** `silent`: checkers that say nothing, by name. */
  constructor(silent: readonly string[] = []) {
    this.#silent = new Set(silent);
  }

  #fail(checker: string, message: string): void {
    if (!this.#silent.has(checker)) throw new Violation(checker, message);
  }

  addPair(source: string, target: string, before?: string): void {
    this.#pairs.set(`${source}>${target}`, {
      name: `${source}>${target}`,
      source,
      target,
      before,
      acknowledged: { stream: 0, lsn: 0 },
      applied: new Map(),
      lastApplied: { stream: 0, lsn: 0 },
      logged: [],
      checked: 0,
    });
  }

  #pair(source: string, target: string): Pair {
    return this.#pairs.get(`${source}>${target}`) as Pair;
  }

  streamStarted(source: string, stream: number, firstLsn: number): void {
    this.#streams.set(`${source}/${stream}`, { source, firstLsn, ops: [] });
    this.#newest.set(source, stream);
  }

  /**
   * One writer in an epoch. There is no promotion yet: an epoch is a source's only one, and this is
   * the place where a second server that takes ops in it will be found.
   */
  written(source: string, epoch: number, writer: string, op: Op): void {
    const key = `${source}/${epoch}`;
    const known = this.#writers.get(key) ?? writer;
    this.#writers.set(key, known);
    if (known !== writer)
      this.#fail("one writer", `${known} and ${writer} write in epoch ${epoch}`);
    this.#streams.get(`${source}/${op.stream}`)?.ops.push(op);
  }

  /** A source has read the welcome: what it sends on this connection goes on behind it. */
  welcomed(connection: number, durable: number): void {
    this.#sent.set(connection, durable);
  }

  sent(connection: number, ops: readonly Op[]): void {
    for (const { lsn } of ops) {
      const last = this.#sent.get(connection);
      if (lsn !== (last ?? Number.NaN) + 1) {
        this.#fail("order", `op ${lsn} sent behind ${last} on #${connection}`);
      }
      this.#sent.set(connection, lsn);
    }
  }

  inFlight(bytes: number, bytesMax: number): void {
    if (bytes > bytesMax) this.#fail("bounds", `${bytes} bytes under way, at most ${bytesMax}`);
  }

  /** Positions leave the target. */
  acknowledged(source: string, target: string, stream: number, durable: number): void {
    const pair = this.#pair(source, target);
    if (stream < pair.acknowledged.stream) return;
    const { lsn } = pair.acknowledged;
    if (stream === pair.acknowledged.stream && durable <= lsn) return;
    pair.acknowledged = { stream, lsn: durable };
  }

  /** The source gives its memory of these ops back: those that it sends to must have them. */
  released(source: string, stream: number, lsn: number): void {
    for (const pair of this.#pairs.values()) {
      if (pair.source !== source || pair.before !== undefined) continue;
      const { acknowledged } = pair;
      if (acknowledged.stream !== stream || acknowledged.lsn < lsn) {
        this.#fail(
          "durable ack",
          `${source} forgets op ${lsn} that ${pair.name} has not acknowledged`,
        );
      }
    }
  }

  /** The log as it is now. Prefix: what the source wrote, from its first op on, without a gap. */
  logged(source: string, target: string, ops: readonly Op[]): void {
    const pair = this.#pair(source, target);
    if (pair.logged !== ops) pair.checked = 0;
    pair.logged = ops;
    for (let index = pair.checked; index < ops.length; index++) {
      const op = ops[index] as Op;
      const before = ops[index - 1];
      this.#checkNext(pair, "the log", op, before?.stream ?? 0, before?.lsn ?? 0);
    }
    pair.checked = ops.length;
  }

  /** The log as it was found after a crash. */
  reopened(source: string, target: string, ops: readonly Op[]): void {
    this.logged(source, target, ops);
    for (const pair of this.#pairs.values()) {
      if (pair.source === source && pair.before === target) this.#checkBehind(pair, ops);
    }
    const { acknowledged, name } = this.#pair(source, target);
    const firstLsn = this.#streams.get(`${source}/${acknowledged.stream}`)?.firstLsn ?? 1;
    if (acknowledged.lsn < firstLsn) return;
    const last = ops.findLast(({ stream }) => stream === acknowledged.stream);
    if ((last?.lsn ?? 0) >= acknowledged.lsn) return;
    this.#fail(
      "durable ack",
      `${name} acknowledged ${acknowledged.lsn} and found ${last?.lsn ?? 0}`,
    );
  }

  /** Nobody further on has what a crash has taken from the one before. */
  #checkBehind({ name, before, logged }: Pair, found: readonly Op[]): void {
    const [last, has] = [logged.at(-1), found.at(-1)];
    if (last === undefined || last.stream < (has?.stream ?? 0)) return;
    if (last.stream === has?.stream && last.lsn <= has.lsn) return;
    this.#fail("chain", `${name} has op ${last.lsn}, and ${before} has lost it`);
  }

  applied(source: string, target: string, op: Op): void {
    const pair = this.#pair(source, target);
    const key = `${op.stream}/${op.lsn}`;
    const times = (pair.applied.get(key) ?? 0) + 1;
    if (times > 1) this.#fail("exactly once", `${pair.name} applied op ${key} ${times} times`);
    pair.applied.set(key, times);
    this.#checkNext(pair, "the replica", op, pair.lastApplied.stream, pair.lastApplied.lsn);
    pair.lastApplied = { stream: op.stream, lsn: op.lsn };
    this.opsApplied += 1;
  }

  /** A power cut took the replica back to what was durable of it. */
  replicaWentBack(source: string, target: string, stream: number, lsn: number): void {
    const pair = this.#pair(source, target);
    pair.lastApplied = { stream, lsn };
    for (const key of pair.applied.keys()) {
      const [ofStream = 0, ofLsn = 0] = key.split("/").map(Number);
      if (ofStream > stream || ofLsn > lsn) pair.applied.delete(key);
    }
  }

  /** Ends of connections of this source that the target takes ops from. */
  connections(source: string, target: string, numbers: readonly number[]): void {
    if (numbers.length <= 1) return;
    this.#fail(
      "connections",
      `${target} holds ${numbers.map((n) => `#${n}`).join(" and ")} of ${source}`,
    );
  }

  #checkNext({ source, name }: Pair, what: string, op: Op, stream: number, lsn: number): void {
    const written = this.#streams.get(`${source}/${op.stream}`);
    if (written === undefined) {
      this.#fail("prefix", `${what} of ${name} has an op of stream ${op.stream}, which never was`);
      return;
    }
    const expected = op.stream === stream ? lsn + 1 : written.firstLsn;
    if (op.stream < stream)
      this.#fail("prefix", `${what} of ${name} went back to stream ${op.stream}`);
    if (op.lsn !== expected) {
      this.#fail("prefix", `${what} of ${name} has op ${op.lsn} where ${expected} should be`);
    }
    if (written.ops[op.lsn - written.firstLsn]?.value !== op.value) {
      this.#fail("prefix", `${what} of ${name} has an op ${op.lsn} that the source did not write`);
    }
  }

  /** Why a copy is not complete; undefined when all are. */
  get incomplete(): string | undefined {
    for (const { source, name, acknowledged, lastApplied } of this.#pairs.values()) {
      const stream = this.#newest.get(source) ?? 0;
      const last = this.#streams.get(`${source}/${stream}`)?.ops.at(-1)?.lsn;
      if (last === undefined) continue;
      const places: [string, { stream: number; lsn: number }][] = [
        ["acknowledged", acknowledged],
        ["applied", lastApplied],
      ];
      for (const [what, place] of places) {
        if (place.stream === stream && place.lsn === last) continue;
        return `${name}: ${what} ${place.stream}/${place.lsn} of ${stream}/${last}`;
      }
    }
    return undefined;
  }

  /** Liveness: called when everything has been healed for long enough. */
  healed(): void {
    const why = this.incomplete;
    if (why !== undefined) this.#fail("liveness", why);
  }
}
