/** The part of the command line that is about jobs between servers: options and help. */
import { type Command, Option } from "commander";

import type { ProtectArguments } from "./job-commands.ts";
import { addLimitProgram } from "./limit-program.ts";
import {
  limitArgument,
  scheduleArgument,
  secondsArgument,
  sizeArgument,
  viaArgument,
} from "./option-values.ts";

type SetExitCode = (code: number) => void;

const STATE_HELP = "the agent's state folder (or STANDIN_STATE; default: /var/lib/standin)";

export function addJobPrograms(program: Command, setExitCode: SetExitCode): void {
  addProtect(program, setExitCode);
  addUnprotect(program, setExitCode);
  addJobs(program, setExitCode);
  addLimitProgram(program, setExitCode);
  addPromote(program, setExitCode);
}

function addPromote(program: Command, setExitCode: SetExitCode): void {
  program
    .command("promote")
    .summary("make the replica of a job the place where its applications run")
    .description(
      "Runs on the target. Applies everything that was received, takes nothing from the source\n" +
        "any more, shows the replicas at their paths, captures them again, and runs the job's\n" +
        "start command.",
    )
    .argument("<job>", "its name or id")
    .option(
      "--at <path>",
      "where to show it (default: as on the source); of several folders: OLD=NEW, which can be\n" +
        "repeated, or the folder that is to hold them all",
      repeated,
    )
    .option("--force", "also a replica that is not complete")
    .option("--state <dir>", STATE_HELP)
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  standin promote mail\n  standin promote db --at /srv/db2\n" +
        "  standin promote shop --at /srv/db=/data/db --at /srv/files=/data/files",
    )
    .action(async (job: string, options) => {
      const { runPromote } = await import("./job-commands.ts");
      setExitCode(await runPromote({ job, ...options }));
    });
}

function repeated(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

type ProtectOptions = Omit<ProtectArguments, "paths">;

/** An address for a server that gets no replica is a slip of the pen. */
function refuseForeignVia(command: Command, { to, via = [] }: ProtectOptions): void {
  const direct = to.map((target) => target.split("/")[0]);
  const foreign = via.find(({ agent }) => agent !== undefined && !direct.includes(agent));
  if (foreign === undefined) return;
  const { agent, address } = foreign;
  const isBehind = to.some((target) => target.endsWith(`/${agent}`));
  const why = isBehind ? "gets the changes from another server" : "is not in --to";
  command.error(`--via ${agent}=${address}: ${agent} ${why}`);
}

const PROTECT_HELP = `
--on-failure has no witness yet: when only the network between the two servers fails, both may
believe that they are the one. Use it where the target cannot lose the network alone.

Examples:
  standin protect /srv/mail --to mail2
  standin protect /srv/db --to db2 db3 --name db --limit 20M --via db3=10.0.2.1
  standin protect /srv/mail --to mail2/vienna            vienna gets it from mail2
  standin protect /var/lib/postgresql /srv/files --to shop2 --name shop
  standin protect /srv/home --to home2 --owners name --schedule 'mon-fri 08:00-18:00 2MB/s'
  standin protect /srv/www --to web2 --replica /srv/www.replica --exclude '**/cache/**'`;

function addProtect(program: Command, setExitCode: SetExitCode): void {
  program
    .command("protect")
    .summary("protect folders of this server with a replica on another")
    .description(
      "Mounts over the folders in place, copies them to the other servers while they are in\n" +
        "use, and then sends every change, of all of them in one order. Goes on by itself after\n" +
        "restarts, until unprotect.",
    )
    .argument("<path...>", "folders to protect, 8 at most")
    .requiredOption(
      "--to <agent...>",
      "servers that get a replica, by name (standin agents); A/B: B gets it from A",
    )
    .option("--name <job>", "name of the job (default: the first folder's)")
    .option("--replica <dir>", "folder for the replicas there (default: in the agent's state)")
    .option("--include <glob...>", "copy only what matches")
    .option("--exclude <glob...>", "leave out what matches")
    .addOption(
      new Option("--orphans <policy>", "files in the replica that the source does not have")
        .choices(["keep", "aside", "delete"])
        .default("aside"),
    )
    .addOption(
      new Option("--owners <by>", "files there belong to who has the same number, or the same name")
        .choices(["id", "name"])
        .default("id"),
    )
    .addOption(
      new Option("--compress <when>", "zstd: never, always, or while the network is too slow")
        .choices(["off", "on", "adaptive"])
        .default("adaptive"),
    )
    .option("--limit <rate>", "at most so many bytes a second to each target", limitArgument)
    .option(
      "--schedule <window>",
      "another limit at some times of the week, again for each; see standin limit --help",
      scheduleArgument,
    )
    .option(
      "--via <[agent=]address>",
      "address of this server from which it connects to its targets, or to one of them",
      viaArgument,
    )
    .option(
      "--on-failure <seconds>",
      "the target promotes by itself when this server is silent for so long; see below",
      secondsArgument,
    )
    .option("--start-command <command>", "run on the target after a promotion (sh -c)")
    .option("--ring <size>", "memory for changes that are not sent yet", sizeArgument)
    .option("--allow-open-files", "start although files are open for writing")
    .option("--state <dir>", STATE_HELP)
    .option("--json", "print JSON")
    .addHelpText("after", PROTECT_HELP)
    .action(async (paths: string[], options: ProtectOptions, command: Command) => {
      refuseForeignVia(command, options);
      const { runProtect } = await import("./job-commands.ts");
      setExitCode(await runProtect({ paths, ...options }));
    });
}

function addUnprotect(program: Command, setExitCode: SetExitCode): void {
  program
    .command("unprotect")
    .summary("end a job; the folder stays as it is")
    .description("Ends a job and unmounts its folder. The replicas are left where they are.")
    .argument("<job>", "its name or id")
    .option("--delete-replica", "delete the replicas too")
    .option("--state <dir>", STATE_HELP)
    .option("--json", "print JSON")
    .addHelpText("after", "\nExample:\n  standin unprotect mail")
    .action(async (job: string, options) => {
      const { runUnprotect } = await import("./job-commands.ts");
      setExitCode(await runUnprotect({ job, ...options }));
    });
}

function addJobs(program: Command, setExitCode: SetExitCode): void {
  program
    .command("jobs")
    .summary("show what this server sends and receives, and what is not protected")
    .description("Shows what this server sends and receives, and what is not protected, and why.")
    .argument("[job]", "only this one")
    .option("--state <dir>", STATE_HELP)
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  standin jobs\n  standin jobs --json | jq .jobs")
    .action(async (job: string | undefined, options) => {
      const { runJobs } = await import("./job-commands.ts");
      setExitCode(await runJobs({ ...(job === undefined ? {} : { job }), ...options }));
    });
}
