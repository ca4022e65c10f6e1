/** Which running instance a command is meant for. */

import { InstanceRegistry, type RegistryEntry } from "../agent/instance-registry.ts";
import { StateDirectory } from "../agent/state-directory.ts";
import { StandinError } from "../base/errors.ts";

/** Named by --state or STANDIN_STATE, else the only one there is. @throws {StandinError} */
export function chooseInstance(
  state: string | undefined,
  environment: NodeJS.ProcessEnv = process.env,
  registry: InstanceRegistry = new InstanceRegistry(),
): StateDirectory {
  const named = state ?? environment.STANDIN_STATE;
  if (named !== undefined) return namedInstance(named);
  // What the agent protects has no instance of its own to ask.
  const entries = registry.all().filter(({ replica }) => replica !== null);
  const [only] = entries;
  if (only === undefined) {
    throw new StandinError("NO_INSTANCE", "no instance runs on this machine", {
      hint:
        "Start one with standin local SOURCE REPLICA, or name its state folder with --state. " +
        "Jobs between servers: standin jobs.",
    });
  }
  if (entries.length > 1) throw severalInstances(entries);
  return StateDirectory.open(only.stateDirectory);
}

function namedInstance(path: string): StateDirectory {
  try {
    return StateDirectory.open(path);
  } catch (cause) {
    throw new StandinError("NO_STATE", `there is no state folder ${path}`, {
      hint: "Name the folder that standin local --state was started with.",
      cause,
    });
  }
}

function severalInstances(entries: readonly RegistryEntry[]): StandinError {
  const list = entries.map(({ source, stateDirectory }) => `--state ${stateDirectory} (${source})`);
  return new StandinError("SEVERAL_INSTANCES", `${entries.length} instances run on this machine`, {
    hint: `Choose one: ${list.join(", ")}`,
  });
}
