/**
 * What agents ask of each other about a job, apart from its stream: of a target by the job's
 * source, itself or through the target that sends it the ops.
 */
import { StandinError } from "../../base/errors.ts";
import { parseOnward } from "../../protocol/stream-messages.ts";
import type { RequestBody } from "../peer-control.ts";
import type { PeerNetwork, PeerRequestHandler } from "../peer-network.ts";
import type { SourceRecord } from "./source-record.ts";
import { notTheSource } from "./target-errors.ts";
import type { TargetJob } from "./target-job.ts";

const PEER_REQUEST_MS = 30_000;
const VERIFY_MS = 24 * 3_600_000;
const RUN_THERE = "Run the command on that server.";

/** A target by id, and the one through which it is reached, if not directly. */
export interface WayToTarget {
  readonly agent: string;
  readonly through: string | null;
}

type Answer = Promise<Record<string, unknown>>;

/** @throws {StandinError} as {@link PeerNetwork.request} */
export function askTarget(
  network: PeerNetwork,
  { agent, through }: WayToTarget,
  command: string,
  body: RequestBody,
  timeoutMs: number,
): Answer {
  if (through === null) return network.request(agent, command, body, timeoutMs);
  return network.request(through, command, { ...body, passTo: agent }, timeoutMs);
}

export interface EndedReplica {
  readonly agent: string;
  /** Where it is left; null: nowhere, or not known. */
  readonly replica: string | null;
  /** Why the target could not be told. */
  readonly problem: string | null;
}

/** What becomes of the replicas when a job ends. */
export interface Unprotected {
  readonly replicas: readonly EndedReplica[];
  /** Promoted replicas, which are shown at their paths until the next reboot. */
  readonly shown: readonly { readonly replica: string; readonly path: string }[];
}

/** Tells all targets of a job that it is no more. */
export async function endReplicas(
  network: PeerNetwork,
  { id, targets }: Pick<SourceRecord, "id" | "targets">,
  deletesReplica: boolean,
  nameOf: (agent: string) => string,
): Promise<EndedReplica[]> {
  const body = { job: id, deletesReplica };
  const ended: EndedReplica[] = [];
  // Backwards: a target that has forgotten the job passes nothing on.
  for (const target of targets.toReversed()) {
    const asked = askTarget(network, target, "job-remove", body, PEER_REQUEST_MS);
    const told = asked.then(({ replica }) => {
      return { replica: typeof replica === "string" ? replica : null, problem: null };
    });
    const outcome = await told.catch(({ message: problem }: Error) => ({ replica: null, problem }));
    ended.push({ agent: nameOf(target.agent), ...outcome });
  }
  return ended.toReversed();
}

/** Compares all replicas of a job with its folders. */
export async function verifyReplicas(
  network: PeerNetwork,
  { id, targets }: Pick<SourceRecord, "id" | "targets">,
  repair: boolean,
  nameOf: (agent: string) => string,
): Answer {
  const body = { job: id, repair };
  const answers = targets.map(async (target) => {
    const answer = await askTarget(network, target, "job-verify", body, VERIFY_MS);
    return { agent: nameOf(target.agent), ...answer };
  });
  return { targets: await Promise.all(answers) };
}

export async function pauseReplicas(
  network: PeerNetwork,
  { id, targets }: Pick<SourceRecord, "id" | "targets">,
  isPaused: boolean,
): Promise<void> {
  const body = { job: id, paused: isPaused };
  for (const target of targets) {
    await askTarget(network, target, "job-pause", body, PEER_REQUEST_MS);
  }
}

export interface JobRequestParts {
  readonly network: PeerNetwork;
  /** @throws {StandinError} `UNKNOWN_JOB` */
  readonly target: (job: string) => TargetJob;
  /** The job is no more; settles with where its replica is left. */
  readonly forget: (job: string, peer: string, deletesReplica: boolean) => Promise<string | null>;
  readonly epochOf: (job: string) => number;
  readonly signal: AbortSignal;
}

/** Registers who answers a target's requests. */
export function answerJobRequests(parts: JobRequestParts): void {
  const { network, target, signal } = parts;
  const answer = (command: string, timeoutMs: number, handler: PeerRequestHandler) => {
    network.onRequest(command, async (body, peer) => {
      const { passTo, ...rest } = body;
      if (typeof passTo !== "string") return await handler(body, peer);
      const job = target(String(body.job));
      refuseUnlessBehind(job, peer.id, passTo);
      // First: it would be taken for a new job there.
      if (command === "job-remove") await job.dropOnward(passTo);
      return await network.request(passTo, command, rest, timeoutMs);
    });
  };
  answer("job-verify", VERIFY_MS, async ({ job, repair }) => {
    const { life } = target(String(job));
    if (life !== undefined) return { ...(await life.copy.verify(repair === true, signal)) };
    throw new StandinError("NOT_CONNECTED", "the job's source was never connected", {
      hint: "Look at standin jobs on the source: why is it apart?",
    });
  });
  answer("job-pause", PEER_REQUEST_MS, ({ job, paused }) => {
    target(String(job)).setPaused(paused === true);
    return {};
  });
  answer("job-epoch", PEER_REQUEST_MS, ({ job }) => ({ epoch: parts.epochOf(String(job)) }));
  answer("job-remove", PEER_REQUEST_MS, async ({ job, deletesReplica }, peer) => {
    return { replica: await parts.forget(String(job), peer.id, deletesReplica === true) };
  });
  network.onRequest("job-onward", ({ job, onward }, peer) => {
    const found = target(String(job));
    if (found.record.source.id !== peer.id) throw notTheSource(found.record, RUN_THERE);
    found.setOnwardLimits(parseOnward(onward));
    return {};
  });
}

/** Nobody but the job's source speaks through this server, and only to the job's targets. */
function refuseUnlessBehind(target: TargetJob, peer: string, passTo: string): void {
  const { source, onward, name } = target.record;
  if (source.id !== peer) throw notTheSource(target.record, RUN_THERE);
  if (onward?.targets.some(({ agent }) => agent === passTo)) return;
  throw new StandinError("UNKNOWN_TARGET", `job ${name} is not sent on to ${passTo}`, {
    hint: "Look at standin jobs on both servers: was the job ended and protected anew?",
  });
}
