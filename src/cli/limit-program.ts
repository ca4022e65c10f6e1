/** `standin limit`: options and help. */
import type { Command } from "commander";

import { limitArgument, scheduleArgument } from "./option-values.ts";

export function addLimitProgram(program: Command, setExitCode: (code: number) => void): void {
  program
    .command("limit")
    .summary("show or change how many bytes a second a job may send")
    .description(
      "Shows the bandwidth limits of a job's targets, or changes them: at once,\n" +
        "without a new connection, and for good. What is not given stays as it is.",
    )
    .argument("<job>", "its name or id")
    .option("--to <agent...>", "only for these targets (default: for all)")
    .option("--limit <rate>", "at most so many bytes a second, or none", limitArgument)
    .option(
      "--schedule <window>",
      "another limit at some times of the week, again for each; replaces the schedule",
      scheduleArgument,
    )
    .option("--no-schedule", "the limit holds at all times")
    .option(
      "--state <dir>",
      "the agent's state folder (or STANDIN_STATE; default: /var/lib/standin)",
    )
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      `
A rate is 20M, 2MB/s or 100Mbit/s: K, M and G are 1024 and its powers, KB, MB and GB 1000 and its.
A window is DAYS FROM-TO RATE, in the local time of the server that sends: days are mon, mon-fri,
sat,sun or daily; times 00:00 to 24:00, and a window such as 22:00-06:00 ends on the next day; the
rate may be none. Windows may not overlap. Outside of them --limit holds.

Examples:
  standin limit mail
  standin limit mail --limit 5MB/s
  standin limit mail --schedule 'mon-fri 08:00-18:00 2MB/s' --schedule 'sat 08:00-13:00 4MB/s'
  standin limit mail --to mail3 --limit 100Mbit/s --no-schedule`,
    )
    .action(async (job: string, options) => {
      const { runLimit } = await import("./limit-command.ts");
      setExitCode(await runLimit({ job, ...options }));
    });
}
