/**
 * Promotes by itself what was asked to be promoted when its source and the source's host are
 * silent. There is no witness: a network that fails between the two looks the same.
 */
import type { Clock } from "../../platform/clock.ts";
import { hostAnswers } from "../../platform/host-probe.ts";
import { parseAddress } from "../../trust/network-address.ts";
import type { AgentLog } from "../agent-log.ts";
import type { FleetStore } from "../fleet-store.ts";
import type { TargetJob } from "./target-job.ts";

const WATCH_MS = 250;
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
  const underWay = new Set<Promise<void>>();
  while (!signal.aborted) {
    await clock.sleep(WATCH_MS, signal);
    const silent = [...targets.values()].filter(isSilent);
    await Promise.all(
      silent.map(async (target) => {
        if (await sourceHostAnswers(parts, target)) return;
        // It may have come back while its host was asked.
        if (signal.aborted || !isSilent(target)) return;
        // Not waited for: a start command takes its time, and other jobs have none.
        const promoting = promote(parts, target);
        underWay.add(promoting);
        void promoting.finally(() => underWay.delete(promoting));
      }),
    );
  }
  await Promise.all(underWay);
}

function isSilent({ record, life }: TargetJob): boolean {
  const { onFailureSeconds, promotion, due } = record;
  if (onFailureSeconds === null || promotion !== null || due !== "none") return false;
  const silentMs = life?.stream.silentMs;
  return silentMs !== undefined && silentMs >= onFailureSeconds * 1000;
}

async function sourceHostAnswers(
  { store, signal }: FailureWatchParts,
  { record }: TargetJob,
): Promise<boolean> {
  const addresses = store.memberById(record.source.id)?.addresses ?? [];
  const answers = addresses.map((text) => {
    const { host, port } = parseAddress(text);
    return hostAnswers(host, port, PROBE_MS, signal);
  });
  return (await Promise.all(answers)).includes(true);
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
