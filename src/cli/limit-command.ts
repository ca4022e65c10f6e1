/** `standin limit`. */
import type { TargetStatus } from "../agent/jobs/job-status.ts";
import { type AskArguments, askAgent } from "./ask-agent.ts";
import { ExitCode } from "./exit-code.ts";
import type { LimitOption } from "./option-values.ts";
import { outputFor } from "./output.ts";
import { renderLimit } from "./render-link.ts";

export interface LimitArguments extends AskArguments {
  readonly job: string;
  readonly to?: readonly string[];
  readonly limit?: LimitOption;
  /** False: none. */
  readonly schedule?: readonly string[] | false;
}

export async function runLimit(given: LimitArguments): Promise<number> {
  const output = outputFor(given.json === true);
  const { job, to, limit, schedule } = given;
  const body = {
    job,
    targets: to,
    limitBytes: limit?.bytesPerSecond,
    schedule: schedule === false ? [] : schedule,
  };
  const { targets } = await askAgent<{ targets: TargetStatus[] }>(given, "job-limit", body);
  output.json({
    event: "limit",
    job,
    targets: targets.map(({ agent, limit }) => ({ agent, ...limit })),
  });
  for (const { agent, limit } of targets) {
    output.text(`${job} to ${agent}: ${renderLimit(limit)}`);
    for (const window of limit.schedule) output.text(`  ${window}`);
    if (limit.schedule.length === 0) continue;
    output.text(
      `  else ${renderLimit({ ...limit, bytesPerSecond: limit.limitBytes, until: null })}`,
    );
  }
  return ExitCode.ok;
}
