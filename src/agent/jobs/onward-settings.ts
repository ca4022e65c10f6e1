/** What a target keeps of those to which it sends a job's ops on, and says to them. */
import { assert } from "../../base/assert.ts";
import type { SegmentLog } from "../../journal/segment-log.ts";
import {
  type Onward,
  parseStreamWelcome,
  type StreamHello,
} from "../../protocol/stream-messages.ts";
import { WeeklySchedule } from "../../replication/weekly-schedule.ts";
import type { PeerNetwork } from "../peer-network.ts";
import type { ConnectOnward } from "./onward-link.ts";
import type { TargetRecord } from "./target-record.ts";

/**
 * A target further on is like any other, but does not promote by itself: it cannot tell whether the
 * source is silent, or only this server.
 */
export function onwardHello(record: TargetRecord, log: SegmentLog): StreamHello {
  const { job, name, stream, life, epoch, mounts, include, exclude, orphans, owners } = record;
  assert(stream !== null, "a source was connected");
  return {
    ...{ job, name, stream, life, epoch, mounts, include, exclude, orphans, owners },
    startCommand: record.startCommand,
    firstLsn: log.streamFirstLsn,
    lastLsn: log.durableLsn,
    onFailureSeconds: null,
    onward: null,
  };
}

export function connectOnward(network: PeerNetwork): ConnectOnward {
  return async ({ agent, replica }, hello, signal) => {
    const connection = await network.connect(agent, "stream", { ...hello, replica }, { signal });
    return { connection, welcome: parseStreamWelcome(connection.welcome) };
  };
}

/**
 * The same targets with the limits of `limits`, which says nothing else that counts.
 * @throws {StandinError} `INVALID_SCHEDULE`
 */
export function withLimits(onward: Onward, limits: Onward | null): Onward {
  const targets = onward.targets.map((target) => {
    const changed = limits?.targets.find(({ agent }) => agent === target.agent);
    if (changed === undefined) return target;
    const { limitBytes, schedule } = changed;
    return { ...target, limitBytes, schedule: WeeklySchedule.parse(schedule).texts };
  });
  return { ...onward, targets };
}

/** Without that target. Never null, which would mean that answers are not tagged. */
export function withoutTarget(onward: Onward, agent: string): Onward {
  return { ...onward, targets: onward.targets.filter((target) => target.agent !== agent) };
}
