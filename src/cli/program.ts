/** The command line: names, options, help. What a command does is loaded when it is run. */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";

import { ExitCode } from "./exit-code.ts";
import { addFleetPrograms } from "./fleet-program.ts";
import { addJobPrograms } from "./job-program.ts";
import { secondsArgument, sizeArgument } from "./option-values.ts";
import { reportError } from "./output.ts";

const EXAMPLES = `
Examples:
  standin demo                              see it at work, in a temporary folder
  standin local /srv/mail /backup/mail      keep a second copy of a live folder
  standin status --watch                    from another shell: is it protected, how far behind?
  standin flush && echo "all is in the copy"`;

export interface ChosenInstance {
  readonly state?: string;
  readonly json?: boolean;
}

/** Runs one command; the exit code is 0 ok, 1 failed, 2 wrong usage. */
export async function runProgram(argv: readonly string[], version: string): Promise<number> {
  let exitCode: number = ExitCode.ok;
  const program = buildProgram(version, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage;
    reportError(error, argv.includes("--json"));
    return ExitCode.failed;
  }
  return exitCode;
}

type SetExitCode = (code: number) => void;

function buildProgram(version: string, setExitCode: SetExitCode): Command {
  const program = new Command("standin")
    .description("Keeps a second copy of live folders, every change in order.")
    .version(version, "-V, --version", "print the version")
    .helpCommand(false)
    .helpOption("-h, --help", "show help")
    .showSuggestionAfterError(true)
    .configureOutput({ outputError: (text, write) => write(`standin: ${withoutPrefix(text)}`) })
    .exitOverride()
    .addHelpText("after", EXAMPLES);
  addLocal(program, setExitCode);
  addStatus(program, setExitCode);
  addFlush(program, setExitCode);
  addVerify(program, setExitCode);
  addPause(program, setExitCode);
  addDemo(program, setExitCode);
  addFleetPrograms(program, setExitCode);
  addJobPrograms(program, setExitCode);
  return program;
}

function withoutPrefix(text: string): string {
  const hint = "  Run the command with --help to see how it is used.\n";
  return `${text.replace(/^error: /, "")}${hint}`;
}

function addLocal(program: Command, setExitCode: SetExitCode): void {
  program
    .command("local")
    .summary("protect SOURCE and keep its copy in REPLICA, on this machine")
    .description(
      "Mounts over SOURCE in place, copies it to REPLICA while it is in use, and then applies\n" +
        "every change in order. Runs in the foreground; Ctrl-C or SIGTERM applies what is left\n" +
        "and unmounts.",
    )
    .argument("<source>", "folder to protect")
    .argument("<replica>", "folder for the copy; made when it is missing")
    .option("--state <dir>", "folder for the instance's state (or STANDIN_STATE)")
    .option("--include <glob...>", "copy only what matches")
    .option("--exclude <glob...>", "leave out what matches")
    .addOption(
      new Option("--orphans <policy>", "files in REPLICA that SOURCE does not have")
        .choices(["keep", "aside", "delete"])
        .default("aside"),
    )
    .option("--ring <size>", "memory for changes that are not applied yet", sizeArgument, undefined)
    .option("--workers <count>", "threads that serve the folder", countArgument)
    .option("--allow-open-files", "start although files of SOURCE are open for writing")
    .option("--json", "print one JSON object a line")
    .addHelpText(
      "after",
      `
Examples:
  standin local /srv/mail /backup/mail
  standin local /srv/www /backup/www --exclude '**/cache/**' --orphans delete
  standin local /srv/db /backup/db --ring 512M --json`,
    )
    .action(async (source: string, replica: string, options) => {
      const { runLocal } = await import("./local-command.ts");
      setExitCode(await runLocal({ source, replica, ...options }));
    });
}

function instanceCommand(program: Command, name: string, summary: string): Command {
  return program
    .command(name)
    .summary(summary)
    .description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`)
    .argument("[job]", "a job of this server's agent; none: the standin local that runs here")
    .option(
      "--state <dir>",
      "the instance's or agent's state folder (or STANDIN_STATE; default: the only one)",
    )
    .option("--json", "print JSON");
}

function addStatus(program: Command, setExitCode: SetExitCode): void {
  instanceCommand(program, "status", "show state, processes, lag, and what is not protected")
    .option("-w, --watch", "show it again each second")
    .addHelpText(
      "after",
      `
Examples:
  standin status
  standin status --watch
  standin status --json | jq .protected`,
    )
    .action(async (job: string | undefined, options) => {
      if (job !== undefined) {
        const { runJobs } = await import("./job-commands.ts");
        setExitCode(await runJobs({ job, ...options }));
        return;
      }
      const { runStatus } = await import("./status-command.ts");
      setExitCode(await runStatus(options));
    });
}

function addFlush(program: Command, setExitCode: SetExitCode): void {
  instanceCommand(program, "flush", "wait until everything written before now is in the copy")
    .option("--timeout <seconds>", "give up after so many seconds", secondsArgument, 60)
    .addHelpText(
      "after",
      `
Examples:
  standin flush && snapshot-the-copy
  standin flush --timeout 5`,
    )
    .action(async (job: string | undefined, options) => {
      if (job !== undefined) {
        const { runJobFlush } = await import("./job-commands.ts");
        setExitCode(await runJobFlush({ job, ...options }));
        return;
      }
      const { runFlush } = await import("./instance-commands.ts");
      setExitCode(await runFlush(options));
    });
}

function addVerify(program: Command, setExitCode: SetExitCode): void {
  instanceCommand(program, "verify", "compare the copy with the live folder, exactly")
    .option("--repair", "copy again what differs")
    .addHelpText(
      "after",
      `
Exits with 1 when something differs and is not repaired.

Examples:
  standin verify
  standin verify --repair`,
    )
    .action(async (job: string | undefined, options) => {
      if (job !== undefined) {
        const { runJobVerify } = await import("./job-commands.ts");
        setExitCode(await runJobVerify({ job, ...options }));
        return;
      }
      const { runVerify } = await import("./instance-commands.ts");
      setExitCode(await runVerify(options));
    });
}

function addPause(program: Command, setExitCode: SetExitCode): void {
  instanceCommand(program, "pause", "stop changing the copy; changes wait in memory")
    .addHelpText(
      "after",
      "\nExample:\n  standin pause && tar -c /backup/mail > mail.tar; standin resume",
    )
    .action(async (job, options) => setExitCode(await setPaused(job, options, true)));
  instanceCommand(program, "resume", "go on changing the copy")
    .addHelpText("after", "\nExample:\n  standin resume")
    .action(async (job, options) => setExitCode(await setPaused(job, options, false)));
}

async function setPaused(
  job: string | undefined,
  options: ChosenInstance,
  isPaused: boolean,
): Promise<number> {
  if (job !== undefined) {
    const { runJobPaused } = await import("./job-commands.ts");
    return await runJobPaused({ ...options, job, isPaused });
  }
  const { runSetPaused } = await import("./instance-commands.ts");
  return await runSetPaused({ ...options, isPaused });
}

function addDemo(program: Command, setExitCode: SetExitCode): void {
  program
    .command("demo")
    .summary("see it at work: a server that is in use is lost, and another takes over")
    .description(
      "Makes two servers on this machine, protects a database and a mail folder in use on the\n" +
        "first one, kills its capture engine, then all of it and its network; the second one\n" +
        "promotes itself, and the applications go on there. Takes less than two minutes.",
    )
    .option("--seconds <count>", "how long the load runs after the first copy", secondsArgument, 20)
    .option("--loopback", "without a network for each server: promotion by hand")
    .option("--keep", "leave the temporary folder for a look")
    .option("--json", "print the figures as JSON")
    .addHelpText("after", "\nExamples:\n  standin demo\n  standin demo --seconds 60 --keep")
    .action(async (options) => {
      const { runDemo } = await import("./demo/run-demo.ts");
      setExitCode(await runDemo(options));
    });
}

function countArgument(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= 64) return count;
  throw new InvalidArgumentError("Give a number from 1 to 64.");
}
