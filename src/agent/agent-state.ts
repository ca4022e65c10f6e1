/** The state folder of the agent: what is in it, and who may run it. */
import { StandinError } from "../base/errors.ts";
import { FileLock } from "../platform/file-lock.ts";
import { isOpenToOthers, makePrivateFolder, realPath } from "../platform/files.ts";
import { FleetStore } from "./fleet-store.ts";

export const AGENT_STATE_DEFAULT = "/var/lib/standin";

/** The folder named, else STANDIN_STATE, else the usual one. */
export function agentStatePath(
  named: string | undefined,
  environment: NodeJS.ProcessEnv = process.env,
): string {
  return named ?? environment.STANDIN_STATE ?? AGENT_STATE_DEFAULT;
}

export function agentSocket(statePath: string): string {
  return `${statePath}/agent.sock`;
}

/** A state folder that nobody else uses, and its open store. */
export class AgentState {
  readonly path: string;
  readonly store: FleetStore;
  readonly #lock: FileLock;

  private constructor(path: string, lock: FileLock, store: FleetStore) {
    this.path = path;
    this.#lock = lock;
    this.store = store;
  }

  /**
   * Makes what is missing. @throws {StandinError} `STATE_FOLDER`, `STATE_OPEN` when others may
   * enter the folder, `AGENT_RUNNING`, and what opening the store throws
   */
  static open(given: string): AgentState {
    const path = folderAt(given);
    const lock = FileLock.tryAcquire(`${path}/agent.lock`);
    if (lock === undefined) {
      throw new StandinError("AGENT_RUNNING", `an agent runs already with the state in ${path}`, {
        hint: "Stop it first (systemctl stop standin-agent), or name another folder with --state.",
      });
    }
    try {
      return new AgentState(path, lock, FleetStore.open(`${path}/fleet.db`));
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  close(): void {
    this.store.close();
    this.#lock.release();
  }
}

function folderAt(given: string): string {
  let path: string;
  try {
    makePrivateFolder(given);
    path = realPath(given);
  } catch (cause) {
    const message = `cannot make the state folder ${given}: ${(cause as Error).message}`;
    const hint = "Run it as root, or name a folder of your own with --state.";
    throw new StandinError("STATE_FOLDER", message, { hint, cause });
  }
  if (!isOpenToOthers(path)) return path;
  throw new StandinError("STATE_OPEN", `others may enter the state folder ${path}`, {
    hint: `It holds the agent's keys. Close it with chmod 700 ${path}, or choose another folder.`,
  });
}
