/** What an operator may choose for each target of a job, as commands give it. */
import { StandinError } from "../../base/errors.ts";
import { TARGETS_MAX } from "../../protocol/stream-messages.ts";
import type { LimitSettings } from "../../replication/scheduled-limit.ts";
import { isLimit, WeeklySchedule } from "../../replication/weekly-schedule.ts";
import type { FleetStore } from "../fleet-store.ts";

export interface JobTarget extends LimitSettings {
  /** Id of the agent; its name is looked up when it is shown. */
  readonly agent: string;
  /** Id of the target that sends it the ops; null: the source does. */
  readonly through: string | null;
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
 * Targets of a new job, as `A`, or `A/B` for one that gets the ops from A: all with the same limit
 * and schedule, and those that the source connects to each with its own address to connect from.
 * @throws {StandinError} `INVALID_JOB`, `INVALID_SCHEDULE`, `CHAIN_TOO_LONG`
 */
export function targetsOf(body: Body): JobTarget[] {
  const limit = { limitBytes: null, schedule: [], ...limitChangeOf(body) };
  const vias = (body.vias ?? {}) as Body;
  const ways = textsOf(body.targets, "targets").map(wayOf);
  const direct = new Set(ways.map(([first]) => first));
  const onward = ways.filter(([, second]) => second !== undefined);
  return [
    ...[...direct].map((agent) => {
      const via = vias[agent];
      return { agent, ...limit, through: null, via: typeof via === "string" ? via : null };
    }),
    ...onward.map(([through, agent = ""]) => ({ agent, ...limit, through, via: null })),
  ];
}

function wayOf(text: string): [first: string, second?: string] {
  const [first = "", second, third] = text.split("/");
  if (third === undefined) return second === undefined ? [first] : [first, second];
  throw new StandinError("CHAIN_TOO_LONG", `${text}: there can be one server in between`, {
    hint: `Let the first send to both: --to ${first}/${second} ${first}/${third}.`,
  });
}

/**
 * By the ids of their agents instead of names. @throws {StandinError} `UNKNOWN_AGENT`,
 * `TARGET_IS_SOURCE`, `TARGET_TWICE`, `TOO_MANY_TARGETS`, `CHAIN_OWNERS`
 */
export function resolveTargets(
  { targets, owners }: { readonly targets: readonly JobTarget[]; readonly owners: string },
  members: Pick<FleetStore, "findMember" | "identity">,
): JobTarget[] {
  if (targets.length > TARGETS_MAX) {
    throw new StandinError("TOO_MANY_TARGETS", `a job has ${TARGETS_MAX} targets at most`, {
      hint: "Protect the folder with two jobs, in two folders, or with fewer targets.",
    });
  }
  const seen = new Set<string>();
  return targets.map((target) => {
    const { id, name } = members.findMember(target.agent);
    if (id === members.identity.id) {
      throw new StandinError("TARGET_IS_SOURCE", "a job's target is another server", {
        hint: "For a second copy on this machine there is standin local.",
      });
    }
    if (seen.has(id)) {
      throw new StandinError("TARGET_TWICE", `${name} would get the same changes twice`, {
        hint: "Name each target once: --to A B, or --to A/B where B gets them from A.",
      });
    }
    seen.add(id);
    if (target.through === null) return { ...target, agent: id };
    if (owners === "name") {
      throw new StandinError("CHAIN_OWNERS", `${name} cannot be told what owners are called`, {
        hint: `Let this server send to it itself (--to ${name}), or leave owners by number.`,
      });
    }
    return { ...target, agent: id, through: members.findMember(target.through).id };
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
