/**
 * What one seed plays with. Swarm testing: each run leaves most things out and does much of the
 * rest, so that rare meetings of a few happen in some run.
 */
import { Prng } from "../../src/base/prng.ts";
import { RECEIVER_DEFAULTS, type ReceiverOptions } from "../../src/replication/receiver.ts";
import type { SenderOptions } from "../../src/replication/sender.ts";
import type { NetworkOptions } from "./network.ts";
import type { DiskOptions } from "./target-log.ts";

export const FAULTS = [
  "cut",
  "hang",
  "partition",
  "kill source agent",
  "crash source",
  "kill target agent",
  "crash target",
  "full disk",
  "failed sync",
  "stop process",
] as const;

export type FaultName = (typeof FAULTS)[number];

/** By index of the targets. */
export interface SimJob {
  readonly targets: readonly number[];
  /** Those that get the ops from the first of these. */
  readonly onward: readonly number[];
}

export interface SimConfig {
  readonly seed: number;
  /** Of each source. */
  readonly jobs: readonly SimJob[];
  readonly targetCount: number;
  readonly sender: SenderOptions;
  readonly receiver: ReceiverOptions;
  readonly tickMs: number;
  readonly connectMs: number;
  readonly readMsMax: number;
  readonly applyMsMax: number;
  /** Bytes that a link may carry in a millisecond; undefined: no limit. */
  readonly bytesPerMs: number | undefined;
  readonly opBytesMax: number;
  readonly opsMax: number;
  readonly writeGapMs: number;
  readonly network: NetworkOptions;
  readonly disk: DiskOptions;
  readonly logKind: "model" | "segments";
  readonly clockDrift: number;
  readonly weights: ReadonlyMap<FaultName, number>;
  readonly faultGapMs: number;
  readonly chaosMs: number;
  /** After the healing everything must be done by then. */
  readonly settleMs: number;
}

/** Of the runs, those that use the product's log, which costs time. */
const SEGMENTS_SHARE = 0.2;

/** Of the jobs that have several targets, those where some may get the ops from another. */
const CHAIN_SHARE = 0.5;

export function configOf(seed: number): SimConfig {
  const prng = new Prng(seed);
  const heartbeatMs = prng.pick([20, 100, 1000]);
  const silenceMs = heartbeatMs * (4 + prng.int(8));
  const opBytesMax = prng.pick([100, 1000, 10_000]);
  const opsMax = prng.pick([30, 100, 300]);
  const chaosMs = silenceMs * (2 + prng.int(8));
  const backoffMsMin = heartbeatMs / (1 + prng.int(10));
  const backoffMsMax = backoffMsMin * 2 ** prng.int(6);
  const syncMsMax = heartbeatMs * prng.pick([0.01, 0.1, 1, 3]);
  const delayMsMax = heartbeatMs * prng.pick([0.01, 0.1, 1, 5]);
  const connectMs = silenceMs * prng.pick([0.5, 1, 2]);
  const bytesPerMs = prng.chance(0.2) ? (opBytesMax * 4) / heartbeatMs : undefined;
  const frameBytes = opBytesMax * prng.pick([0.1, 1, 4, 30]);
  return {
    seed,
    ...shapeOf(prng),
    sender: {
      windowBytes: frameBytes * prng.pick([0.1, 1, 3, 20]),
      frameBytes,
      heartbeatMs,
      silenceMs,
      backoffMsMin,
      backoffMsMax,
    },
    receiver: {
      ...RECEIVER_DEFAULTS,
      heartbeatMs,
      silenceMs,
      appliedMs: heartbeatMs * prng.pick([0, 0.01, 0.5]),
      retryMs: heartbeatMs * prng.pick([0.1, 1, 3]),
      syncPauseMsMax: heartbeatMs * prng.pick([0, 0.02, 0.5]),
      syncBytes: frameBytes * prng.pick([0.1, 1, 20]),
    },
    tickMs: heartbeatMs / 3,
    connectMs,
    readMsMax: heartbeatMs * prng.pick([0, 0.01, 0.5, 5]),
    applyMsMax: heartbeatMs * prng.pick([0, 0.01, 0.1]),
    bytesPerMs,
    opBytesMax,
    opsMax,
    writeGapMs: (chaosMs / opsMax) * prng.pick([0.05, 0.5, 1]),
    network: {
      delayMsMin: delayMsMax * prng.pick([0, 0.5, 1]),
      delayMsMax,
      bufferBytes: opBytesMax * prng.pick([0, 1, 10, 1000]),
    },
    disk: { syncMsMin: syncMsMax / 10, syncMsMax },
    logKind: prng.chance(SEGMENTS_SHARE) ? "segments" : "model",
    clockDrift: prng.pick([0, 0.001, 0.2]),
    weights: weightsOf(prng),
    faultGapMs: silenceMs * prng.pick([0.1, 0.5, 2]),
    chaosMs,
    settleMs: 20 * (silenceMs + backoffMsMax + connectMs) + opsMax * heartbeatMs * 20,
  };
}

function shapeOf(prng: Prng): Pick<SimConfig, "jobs" | "targetCount"> {
  const sourceCount = prng.pick([1, 1, 1, 2, 3]);
  const targetCount = prng.pick([1, 1, 1, 2, 3]);
  const targets = Array.from({ length: targetCount }, (_, index) => index);
  const jobs = Array.from({ length: sourceCount }, () => {
    const chosen = prng.shuffle([...targets]).slice(0, 1 + prng.int(targetCount));
    const direct = prng.chance(CHAIN_SHARE) ? 1 + prng.int(chosen.length) : chosen.length;
    return { targets: chosen.slice(0, direct), onward: chosen.slice(direct) };
  });
  return { jobs, targetCount };
}

function weightsOf(prng: Prng): Map<FaultName, number> {
  const share = prng.pick([0, 0.2, 0.5, 1]);
  const weights = new Map<FaultName, number>();
  for (const name of FAULTS) if (prng.chance(share)) weights.set(name, 1 + prng.int(10));
  return weights;
}
