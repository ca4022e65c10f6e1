/** The part of the command line that is about agents and their fleet: options and help. */
import { type Command, InvalidArgumentError } from "commander";

import { StandinError } from "../base/errors.ts";
import { parseDuration } from "../base/units.ts";

const HOUR_MS = 3_600_000;

type SetExitCode = (code: number) => void;

export function addFleetPrograms(program: Command, setExitCode: SetExitCode): void {
  addAgent(program, setExitCode);
  addInvite(program, setExitCode);
  addJoin(program, setExitCode);
  addAgents(program, setExitCode);
  addRemove(program, setExitCode);
}

const STATE_HELP = "the agent's state folder (or STANDIN_STATE; default: /var/lib/standin)";
const LISTEN_HELP = "where the other servers reach the agent; remembered";
const ADVERTISE_HELP = "where they reach it when that is another address (NAT); remembered";

function addAgent(program: Command, setExitCode: SetExitCode): void {
  program
    .command("agent")
    .summary("run this server's agent; the first one makes the fleet")
    .description(
      "Runs in the foreground, for a service manager. The first agent makes a new fleet and its\n" +
        "certificate authority; on every other server run standin join once before. Ctrl-C or\n" +
        "SIGTERM finishes what is in hand and ends.",
    )
    .option("--listen <address:port>", LISTEN_HELP)
    .option("--advertise <address:port>", ADVERTISE_HELP)
    .option("--name <name>", "name of the agent (default: the host's); only for the first start")
    .option("--state <dir>", STATE_HELP)
    .option("--json", "log one JSON object a line")
    .addHelpText(
      "after",
      `
Examples:
  standin agent --listen 10.0.0.1:7400
  standin agent                               with the address of the last time
  systemctl enable --now standin-agent        the same, as a service`,
    )
    .action(async (options) => {
      const { runAgent } = await import("./agent-command.ts");
      setExitCode(await runAgent(options));
    });
}

function addInvite(program: Command, setExitCode: SetExitCode): void {
  fleetCommand(program, "invite", "print a token with which one server may join the fleet")
    .option("--expires <duration>", "how long the token is good", durationArgument, HOUR_MS)
    .addHelpText(
      "after",
      `
Runs on the server that made the fleet, while its agent runs. The token is a secret: whoever has
it first gets in. It lets one server in, once.

Examples:
  standin invite
  standin invite --expires 15m`,
    )
    .action(async (options) => {
      const { runInvite } = await import("./fleet-commands.ts");
      setExitCode(await runInvite(options));
    });
}

function addJoin(program: Command, setExitCode: SetExitCode): void {
  program
    .command("join")
    .summary("make this server a member of the fleet that a token is for")
    .description(
      "Gets a certificate from the inviting agent and stores it. Then start the agent; it needs\n" +
        "no options any more.",
    )
    .argument("<token>", "what standin invite printed on the other server")
    .requiredOption("--listen <address:port>", LISTEN_HELP)
    .option("--advertise <address:port>", ADVERTISE_HELP)
    .option("--name <name>", "name of the agent (default: the host's)")
    .option("--state <dir>", STATE_HELP)
    .option("--json", "print JSON")
    .addHelpText(
      "after",
      `
Example:
  standin join AdVq3…x8Q --listen 10.0.0.2:7400 && systemctl enable --now standin-agent`,
    )
    .action(async (token: string, options) => {
      const { runJoin } = await import("./fleet-commands.ts");
      setExitCode(await runJoin({ token, ...options }));
    });
}

function addAgents(program: Command, setExitCode: SetExitCode): void {
  fleetCommand(program, "agents", "show the servers of the fleet, and who is in contact")
    .addHelpText("after", "\nExamples:\n  standin agents\n  standin agents --json | jq .agents")
    .action(async (options) => {
      const { runAgents } = await import("./fleet-commands.ts");
      setExitCode(await runAgents(options));
    });
}

function addRemove(program: Command, setExitCode: SetExitCode): void {
  fleetCommand(program, "remove", "remove a server from the fleet for good")
    .argument("<agent>", "its name or id")
    .option("--force", "also the one that holds the authority, when that server is lost")
    .addHelpText(
      "after",
      `
Every agent that learns of it refuses the removed one's certificate at once. To take the server in
again, invite it anew.

Example:
  standin remove mail2`,
    )
    .action(async (agent: string, options) => {
      const { runRemove } = await import("./fleet-commands.ts");
      setExitCode(await runRemove({ agent, ...options }));
    });
}

function fleetCommand(program: Command, name: string, summary: string): Command {
  return program
    .command(name)
    .summary(summary)
    .description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`)
    .option("--state <dir>", STATE_HELP)
    .option("--json", "print JSON");
}

function durationArgument(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    if (error instanceof StandinError) throw new InvalidArgumentError(error.hint ?? error.message);
    throw error;
  }
}
