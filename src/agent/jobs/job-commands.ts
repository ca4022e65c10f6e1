/** Commands of the control socket about jobs. */
import { StandinError } from "../../base/errors.ts";
import { processorCount } from "../../platform/machine.ts";
import type { AgentCommands } from "../agent-commands.ts";
import { defaultRingBytes, defaultWorkers, PATHS_MAX } from "../ring-sizes.ts";
import type { Jobs } from "./jobs.ts";
import type { JobSettings } from "./source-record.ts";
import { limitChangeOf, targetsOf, textsOf } from "./target-settings.ts";

type Body = Readonly<Record<string, unknown>>;

export function addJobCommands(commands: AgentCommands, jobs: Jobs): void {
  commands.add("protect", async (body) => {
    const { id, name } = await jobs.protect(settingsOf(body), body.allowOpenFiles === true);
    return { id, name };
  });
  commands.add("promote", async (body) => {
    const { job, force } = body;
    return await jobs.promote(String(job), textsOf(body.at, "at"), force === true);
  });
  commands.add("unprotect", ({ job, deletesReplica }) =>
    jobs.unprotect(String(job), deletesReplica === true),
  );
  commands.add("jobs", () => ({
    jobs: jobs.status(),
    problems: [...jobs.problems].map(([id, problem]) => ({ id, problem })),
  }));
  commands.add("job-flush", ({ job, timeoutMs }, _progress, asker) =>
    jobs.flush(String(job), Number(timeoutMs), asker),
  );
  commands.add("job-verify", ({ job, repair }) => jobs.verify(String(job), repair === true));
  commands.add("job-limit", async (body) => {
    const agents = textsOf(body.targets, "targets");
    return { targets: await jobs.setLimit(String(body.job), agents, limitChangeOf(body)) };
  });
  commands.add("job-pause", ({ job, paused }) => jobs.setPaused(String(job), paused === true));
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

function settingsOf(body: Body): JobSettings {
  const { name, replica, compression, orphans, owners } = body;
  if (typeof name !== "string" || !NAME.test(name)) {
    throw new StandinError("INVALID_NAME", `${String(name)} cannot be the name of a job`, {
      hint: "Letters, digits, dot, dash and underscore; at most 63.",
    });
  }
  const targets = targetsOf(body);
  const paths = textsOf(body.paths, "paths");
  if (paths.length === 0 || targets.length === 0) {
    throw new StandinError("INVALID_JOB", "a job has a folder and a target at least", {
      hint: "standin protect PATH --to AGENT",
    });
  }
  if (paths.length > PATHS_MAX) {
    throw new StandinError("TOO_MANY_PATHS", `a job protects ${PATHS_MAX} folders at most`, {
      hint: "Protect the folder that holds them all, or divide them among several jobs.",
    });
  }
  const workers = defaultWorkers(processorCount(), paths.length);
  const ringBytes = body.ringBytes;
  return {
    name,
    paths,
    targets,
    replica: typeof replica === "string" ? replica : null,
    include: textsOf(body.include, "include"),
    exclude: textsOf(body.exclude, "exclude"),
    orphans: orphans === "keep" || orphans === "delete" ? orphans : "aside",
    owners: owners === "name" ? "name" : "id",
    compression: compression === "off" || compression === "on" ? compression : "adaptive",
    onFailureSeconds: secondsOf(body.onFailureSeconds),
    startCommand: typeof body.startCommand === "string" ? body.startCommand : null,
    ringBytes: typeof ringBytes === "number" ? ringBytes : defaultRingBytes(workers),
    workers,
  };
}

const ON_FAILURE_SECONDS_MIN = 2;

function secondsOf(value: unknown): number | null {
  if (value === undefined || value === null) return null;
  if (typeof value === "number" && value >= ON_FAILURE_SECONDS_MIN) return Math.ceil(value);
  throw new StandinError("INVALID_JOB", "--on-failure is too short", {
    hint: `Give ${ON_FAILURE_SECONDS_MIN} seconds or more: a network that hiccups is no failure.`,
  });
}
