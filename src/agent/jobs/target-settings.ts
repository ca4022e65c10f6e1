/** What an operator may choose for each target of a job, as commands give it. */
import { StandinError } from "../../base/errors.ts";
import type { LimitSettings } from "../../replication/scheduled-limit.ts";
import { isLimit, WeeklySchedule } from "../../replication/weekly-schedule.ts";

export interface JobTarget extends LimitSettings {
  /** Id of the agent; its name is looked up when it is shown. */
  readonly agent: string;
  /** Address of this server from which it connects to the target; null: any. */
  readonly via: string | null;
}

type Body = Readonly<Record<string, unknown>>;

/** What is absent stays as it is. */
export type LimitChange = Partial<LimitSettings>;

/** @throws {StandinError} `INVALID_JOB`, `INVALID_SCHEDULE` */
export function limitChangeOf({ limitBytes, schedule }: Body): LimitChange {
  return {
    ...(limitBytes === undefined ? {} : { limitBytes: limitOf(limitBytes) }),
    ...(schedule === undefined ? {} : { schedule: scheduleOf(schedule) }),
  };
}

/**
 * Targets of a new job: all with the same limit and schedule, each with its own address to connect
 * from. @throws {StandinError} `INVALID_JOB`, `INVALID_SCHEDULE`
 */
export function targetsOf(body: Body): JobTarget[] {
  const agents = textsOf(body["targets"], "targets");
  const limit = { limitBytes: null, schedule: [], ...limitChangeOf(body) };
  const vias = (body["vias"] ?? {}) as Body;
  return agents.map((agent) => {
    const via = vias[agent];
    return { agent, ...limit, via: typeof via === "string" ? via : null };
  });
}

function limitOf(value: unknown): number | null {
  if (value === null || isLimit(value)) return value;
  throw new StandinError("INVALID_JOB", `${String(value)} is no limit`, {
    hint: "Give bytes a second, 1024 or more, or null for none.",
  });
}

function scheduleOf(value: unknown): readonly string[] {
  return WeeklySchedule.parse(textsOf(value, "schedule")).texts;
}

/** @throws {StandinError} `INVALID_JOB` */
export function textsOf(value: unknown, name: string): readonly string[] {
  const texts = value ?? [];
  const isRight = Array.isArray(texts) && texts.every((text) => typeof text === "string");
  if (isRight) return texts as readonly string[];
  throw new StandinError("INVALID_JOB", `${name} is no list of texts`);
}
