/** The commands about jobs between servers: protect, unprotect, jobs, and what is asked of one. */
import Table from "cli-table3";

import type { ListedDifference } from "../agent/difference-list.ts";
import type {
  FolderStatus,
  JobStatus,
  ReplicaStatus,
  SourceStatus,
} from "../agent/jobs/job-status.ts";
import type { Unprotected } from "../agent/jobs/job-requests.ts";
import type { Promotion } from "../agent/jobs/promotion.ts";
import type { PromotionRecord } from "../agent/jobs/target-record.ts";
import { formatBytes } from "../base/units.ts";
import { type AskArguments, askAgent } from "./ask-agent.ts";
import { ExitCode } from "./exit-code.ts";
import type { LimitOption, Via } from "./option-values.ts";
import { type Output, outputFor } from "./output.ts";
import { renderLink, renderOnward, renderUnknownOwners } from "./render-link.ts";

export interface ProtectArguments extends AskArguments {
  readonly paths: readonly string[];
  readonly to: readonly string[];
  readonly name?: string;
  readonly replica?: string;
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  readonly orphans: string;
  readonly owners: string;
  readonly compress: string;
  readonly limit?: LimitOption;
  readonly schedule?: readonly string[];
  readonly via?: readonly Via[];
  readonly ring?: number;
  readonly onFailure?: number;
  readonly startCommand?: string;
  readonly allowOpenFiles?: boolean;
}

export async function runProtect(given: ProtectArguments): Promise<number> {
  const output = outputFor(given.json === true);
  const name = given.name ?? nameFor(given.paths[0] ?? "");
  const body = {
    name,
    paths: given.paths,
    targets: given.to,
    replica: given.replica,
    include: given.include ?? [],
    exclude: given.exclude ?? [],
    orphans: given.orphans,
    owners: given.owners,
    compression: given.compress,
    limitBytes: given.limit?.bytesPerSecond,
    schedule: given.schedule,
    vias: viasOf(given),
    onFailureSeconds: given.onFailure,
    startCommand: given.startCommand,
    ringBytes: given.ring,
    allowOpenFiles: given.allowOpenFiles === true,
  };
  const job = await askAgent<{ id: string; name: string }>(given, "protect", body);
  output.json({ event: "protected", ...job });
  output.text(`job ${job.name} captures every change; the first full copy has begun`);
  output.text(`  Look at it with standin jobs, or wait for it: standin flush ${job.name}`);
  return ExitCode.ok;
}

/** From which address each target is connected to; those that have none are left out. */
function viasOf({ to, via = [] }: ProtectArguments): Readonly<Record<string, string>> {
  const general = via.find(({ agent }) => agent === undefined);
  const direct = to.map((target) => target.split("/")[0] ?? target);
  const own = (name: string) => via.find(({ agent }) => agent === name) ?? general;
  const all = direct.map((name) => [name, own(name)] as const);
  return Object.fromEntries(all.flatMap(([name, one]) => (one ? [[name, one.address]] : [])));
}

/** The last part of the path, as far as it can be a name. */
function nameFor(path: string): string {
  const last = path.replace(/\/+$/, "").split("/").at(-1) ?? "";
  const name = last.replaceAll(/[^A-Za-z0-9._-]/g, "-").replace(/^[^A-Za-z0-9]+/, "");
  return name === "" ? "job" : name.slice(0, 63);
}

export async function runUnprotect(
  given: AskArguments & { readonly job: string; readonly deleteReplica?: boolean },
): Promise<number> {
  const output = outputFor(given.json === true);
  const { job } = given;
  const body = { job, deletesReplica: given.deleteReplica === true };
  const { replicas, shown } = await askAgent<Unprotected>(given, "unprotect", body);
  output.json({ event: "unprotected", job, replicas, shown });
  output.text(`job ${job} has ended; its folders are as they were before`);
  for (const { agent, replica, problem } of replicas) {
    if (problem !== null) output.text(`  ${agent} was not told, and keeps its replica: ${problem}`);
    else if (replica !== null) output.text(`  the last replica on ${agent} is in ${replica}`);
  }
  if (shown.length > 0) output.text("until the next reboot only; to keep it, for /etc/fstab:");
  for (const { replica, path } of shown) {
    output.text(`  ${fstabField(replica)} ${fstabField(path)} none bind 0 0`);
  }
  return ExitCode.ok;
}

/** See fstab(5). */
function fstabField(path: string): string {
  return path.replaceAll(/[\s\\]/g, (char) => {
    return `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`;
  });
}

interface JobsAnswer {
  readonly jobs: readonly JobStatus[];
  readonly problems: readonly { readonly id: string; readonly problem: string }[];
}

export async function runJobs(given: AskArguments & { readonly job?: string }): Promise<number> {
  const output = outputFor(given.json === true);
  const { jobs: all, problems } = await askAgent<JobsAnswer>(given, "jobs", {});
  const jobs = all.filter(({ id, name }) => {
    return given.job === undefined || given.job === name || given.job === id;
  });
  output.json({ jobs, problems });
  const sources = jobs.filter((job): job is SourceStatus => job.role === "source");
  const replicas = jobs.filter((job): job is ReplicaStatus => job.role === "target");
  if (jobs.length === 0) output.text("there are no jobs here");
  if (sources.length > 0) output.text(sourceTable(sources));
  for (const { name, reasons, targets } of sources) {
    for (const target of targets) {
      for (const line of renderLink(target)) output.text(`  ${name} to ${target.agent}: ${line}`);
    }
    for (const { message } of [...reasons, ...targets.flatMap((target) => target.reasons)]) {
      output.text(`  ${name} is not protected: ${message}`);
    }
  }
  if (replicas.length > 0) output.text(replicaTable(replicas));
  for (const { name, unknownOwners, onward, problem } of replicas) {
    if (problem !== null) output.text(`  ${name}: ${problem}`);
    if (unknownOwners.count > 0) output.text(`  ${name}: ${renderUnknownOwners(unknownOwners)}`);
    for (const target of onward) output.text(`  ${name}: ${renderOnward(target)}`);
  }
  for (const { id, problem } of problems) output.text(`  job ${id} does not start: ${problem}`);
  return ExitCode.ok;
}

function sourceTable(sources: readonly SourceStatus[]): string {
  const table = new Table({ head: ["job", "folders", "to", "protected", "behind", "queue"] });
  for (const {
    name,
    folders,
    targets,
    protected: isProtected,
    queueBytes,
    spilledBytes,
  } of sources) {
    const behind = targets.map(({ lagOps, lagSeconds, progress }) => {
      if (progress !== null) return `${progress.work} ${progress.percent.toFixed(1)} %`;
      return `${lagOps} ops, ${lagSeconds.toFixed(1)} s`;
    });
    table.push([
      name,
      folders.map(shownFolder).join("\n"),
      targets.map(({ agent }) => agent).join("\n"),
      isProtected ? "yes" : "NO",
      behind.join("\n"),
      formatBytes(queueBytes + spilledBytes),
    ]);
  }
  return table.toString();
}

function shownFolder({ path, state }: FolderStatus): string {
  return state === "captured" ? path : `${path} (${state})`;
}

function promotedTo({ paths, unfinished, isDone }: PromotionRecord): string {
  const where = `${isDone ? "promoted" : "being promoted"} to ${paths.join("\n")}`;
  return `${where}${awaited(unfinished?.count ?? 0)}`;
}

function awaited(count: number): string {
  return count === 0 ? "" : `\nmay be missing or older: ${count}`;
}

/** With the path of each where there are several. */
function shownReplicas(folders: readonly FolderStatus[]): string {
  const isOne = folders.length === 1;
  return folders.map(({ path, replica }) => (isOne ? replica : `${replica} of ${path}`)).join("\n");
}

function replicaTable(replicas: readonly ReplicaStatus[]): string {
  const table = new Table({ head: ["job", "from", "replica", "connected", "received", "applied"] });
  for (const {
    name,
    source,
    folders,
    isConnected,
    promotion,
    pendingResyncs,
    durableLsn,
    appliedLsn,
  } of replicas) {
    const connected = `${isConnected ? "yes" : "NO"}${awaited(pendingResyncs)}`;
    const state = promotion === null ? connected : promotedTo(promotion);
    table.push([
      name,
      source,
      shownReplicas(folders),
      state,
      String(durableLsn),
      String(appliedLsn),
    ]);
  }
  return table.toString();
}

export async function runJobFlush(
  given: AskArguments & { readonly job: string; readonly timeout: number },
): Promise<number> {
  const output = outputFor(given.json === true);
  const body = { job: given.job, timeoutMs: given.timeout * 1000 };
  const { lsn } = await askAgent<{ lsn: number }>(given, "job-flush", body);
  output.text(`everything up to LSN ${lsn} is in every replica`);
  output.json({ event: "flushed", lsn });
  return ExitCode.ok;
}

export async function runPromote(
  given: AskArguments & {
    readonly job: string;
    readonly at?: readonly string[];
    readonly force?: boolean;
  },
): Promise<number> {
  const output = outputFor(given.json === true);
  const { job, at = [], force } = given;
  const promotion = await askAgent<Promotion>(given, "promote", { job, at, force: force === true });
  const { paths, lsn, epoch, started, unfinished } = promotion;
  output.json({ event: "promoted", ...promotion });
  output.text(
    `${job} is at ${paths.join(", ")} now, with everything up to LSN ${lsn} (epoch ${epoch})`,
  );
  if (unfinished !== null && unfinished.count > 0) {
    const what = "files that may be missing or older, for the source had yet to bring them";
    output.text(`${what}: ${unfinished.count}`);
    listSome(output, unfinished.paths);
    output.text("Compare them with a backup, or with what is left of the source.");
  }
  if (started === null) return ExitCode.ok;
  output.text(
    `  start command: exit code ${started.code}${started.output && `\n${started.output}`}`,
  );
  return started.code === 0 ? ExitCode.ok : ExitCode.failed;
}

const LISTED_MAX = 20;

function listSome(output: Output, lines: readonly string[]): void {
  for (const line of lines.slice(0, LISTED_MAX)) output.text(`  ${line}`);
  if (lines.length > LISTED_MAX) output.text("  and others; more with --json");
}

interface VerifyAnswer {
  readonly targets: readonly {
    readonly agent: string;
    readonly different?: number;
    readonly differences?: readonly ListedDifference[];
  }[];
}

export async function runJobVerify(
  given: AskArguments & { readonly job: string; readonly repair?: boolean },
): Promise<number> {
  const output = outputFor(given.json === true);
  const repair = given.repair === true;
  const answer = await askAgent<VerifyAnswer>(given, "job-verify", { job: given.job, repair });
  output.json({ event: "verified", ...answer });
  let differs = false;
  for (const { agent, different = 0, differences = [] } of answer.targets) {
    const what = different === 0 ? "is equal" : `differs in ${different} places`;
    output.text(`${agent}: ${what}${different > 0 && repair ? ", repaired" : ""}`);
    listSome(
      output,
      differences.map(({ path, what }) => `${path}: ${what.join(", ")}`),
    );
    differs ||= different > 0;
  }
  return differs && !repair ? ExitCode.failed : ExitCode.ok;
}

export async function runJobPaused(
  given: AskArguments & { readonly job: string; readonly isPaused: boolean },
): Promise<number> {
  const output = outputFor(given.json === true);
  const { job, isPaused } = given;
  await askAgent(given, "job-pause", { job, paused: isPaused });
  output.json({ event: isPaused ? "paused" : "resumed", job });
  output.text(isPaused ? `${job}: changes wait on the target's disk` : `${job}: applying goes on`);
  return ExitCode.ok;
}
