/**
 * Promotes by itself what was asked to be promoted when its source and the source's host are
 * silent. There is no witness: a network that fails between the two looks the same.
 */
import type { Clock } from "../../platform/clock.ts";
import { hostAnswers } from "../../platform/host-probe.ts";
import { parseAddress } from "../../trust/network-address.ts";
import type { AgentLog } from "../agent-log.ts";
import type { FleetStore } from "../fleet-store.ts";
import { FailureDetector } from "./failure-detector.ts";
import type { TargetJob } from "./target-job.ts";

const WATCH_MS = 50;
/** A host that does not answer within this time is silent. */
const PROBE_MS = 1000;

export interface FailureWatchParts {
  readonly store: FleetStore;
  readonly log: AgentLog;
  readonly clock: Clock;
  readonly targets: ReadonlyMap<string, TargetJob>;
  /** By id. */
  readonly promote: (job: string) => Promise<unknown>;
  readonly signal: AbortSignal;
}

/** Until the signal is aborted. */
export async function watchForFailures(parts: FailureWatchParts): Promise<void> {
  const { clock, signal, targets } = parts;
  const detectors = new WeakMap<TargetJob, FailureDetector>();
  const underWay = new Set<Promise<void>>();
  while (!signal.aborted) {
    await clock.sleep(WATCH_MS, signal);
    for (const target of targets.values()) {
      const silence = watchedSilence(target);
      if (silence === undefined) continue;
      const detector = detectors.get(target) ?? new FailureDetector();
      detectors.set(target, detector);
      for (const effect of detector.step({ kind: "tick", ...silence }, clock.monotonicMs())) {
        // Not waited for: a start command takes its time, and other jobs have none.
        const doing = effect === "probe" ? probe(parts, target, detector) : promote(parts, target);
        underWay.add(doing);
        void doing.finally(() => underWay.delete(doing));
      }
    }
  }
  await Promise.all(underWay);
}

/** Undefined when the job is not to be promoted by itself, or not now. */
function watchedSilence({ record, life, isComplete }: TargetJob) {
  const { onFailureSeconds, promotion, superseded } = record;
  if (onFailureSeconds === null || promotion !== null || superseded !== null) return undefined;
  if (!isComplete) return undefined;
  const heardAtMs = life?.stream.heardAtMs;
  return heardAtMs === undefined ? undefined : { heardAtMs, allowedMs: onFailureSeconds * 1000 };
}

/** Asks the host, and prepares for the promotion that may follow. */
async function probe(
  { store, clock, signal }: FailureWatchParts,
  { record, life }: TargetJob,
  detector: FailureDetector,
): Promise<void> {
  life?.applier.prepareStop();
  const addresses = store.memberById(record.source.id)?.addresses ?? [];
  const answers = addresses.map((text) => {
    const { host, port } = parseAddress(text);
    return hostAnswers(host, port, PROBE_MS, signal);
  });
  const answered = (await Promise.all(answers)).includes(true);
  detector.step({ kind: "probed", answered }, clock.monotonicMs());
}

async function promote({ log, promote: run }: FailureWatchParts, target: TargetJob): Promise<void> {
  const { job, name, source } = target.record;
  log.warning("failure", `${source.name} and its host are silent: promoting ${name}`);
  try {
    await run(job);
  } catch (error) {
    log.error("promote-failed", `${name} cannot be promoted: ${(error as Error).message}`);
  }
}
