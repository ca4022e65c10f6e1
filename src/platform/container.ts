/**
 * A machine within the machine, made of namespaces: its own processes, mounts, shared memory, name
 * and, if asked for, network. All of it goes, whatever was begun inside, when its first process
 * ends; and that one ends with us, also when we are killed.
 */
import { once } from "node:events";

import { StandinError } from "../base/errors.ts";
import {
  type ChildProcess,
  childrenOf,
  identify,
  type ProcessIdentity,
  type ScriptOptions,
  sendSignal,
  startCommand,
} from "./processes.ts";

export interface ContainerOptions {
  readonly name: string;
  /** False: it shares ours. */
  readonly hasNetwork: boolean;
  /** Folders of ours that it sees under another path as well. */
  readonly binds: readonly { readonly folder: string; readonly path: string }[];
}

export interface Ended {
  /** Null: by a signal. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs inside, as the first process. It ends when our end of its standard input is closed. */
const FIRST_PROCESS = `
echo "$1" >/proc/sys/kernel/hostname
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
shift
while [ $# -gt 0 ]; do mount --bind "$1" "$2"; shift 2; done
echo ready
exec cat
`;

/**
 * Starts a command inside and waits for it, itself outside. When its command is stopped by a signal
 * nsenter would stop itself, for good; nobody would wait for the dead then, and until somebody does
 * the container cannot end.
 */
const PARENT = `"$@"; exit $?`;

export class Container {
  readonly #creator: ChildProcess;
  readonly #first: ProcessIdentity;
  readonly #ended: Promise<unknown>;

  private constructor(creator: ChildProcess, first: ProcessIdentity, ended: Promise<unknown>) {
    this.#creator = creator;
    this.#first = first;
    this.#ended = ended;
  }

  /** @throws {StandinError} `NO_CONTAINER`: rights are missing, or the kernel has no namespaces. */
  static async start({ name, hasNetwork, binds }: ContainerOptions): Promise<Container> {
    const kinds = ["--mount", "--uts", "--pid", ...(hasNetwork ? ["--net"] : [])];
    const ways = ["--propagation", "private", "--mount-proc", "--fork", "--kill-child"];
    const script = ["sh", "-ec", FIRST_PROCESS, "sh", name];
    const folders = binds.flatMap(({ folder, path }) => [folder, path]);
    const command = ["unshare", ...kinds, ...ways, ...script, ...folders];
    const creator = startCommand(command, { stdio: ["pipe", "pipe", "pipe"], detached: true });
    const ended = once(creator, "close").catch((error: Error) => error);
    const problem = await readiness(creator, ended);
    const first = identify(childrenOf(creator.pid ?? 0)[0] ?? 0);
    if (problem === undefined && first !== undefined) return new Container(creator, first, ended);
    creator.stdin?.destroy();
    throw new StandinError("NO_CONTAINER", `cannot make namespaces: ${problem ?? "they ended"}`, {
      hint: "Run it as root; in a container, with CAP_SYS_ADMIN.",
    });
  }

  /** Its pid, as we see it, by which others name its network. */
  get pid(): number {
    return this.#first.pid;
  }

  /** Starts a command inside. */
  start(command: readonly string[], stdio: ScriptOptions["stdio"]): ChildProcess {
    const kinds = ["--mount", "--uts", "--pid", "--net"];
    return this.#enter(kinds, command, stdio);
  }

  /** Runs a command inside to its end. */
  async run(command: readonly string[]): Promise<Ended> {
    return await resultOf(this.start(command, ["ignore", "pipe", "pipe"]));
  }

  /** Runs a command of ours on its network. */
  async runOnNetwork(command: readonly string[]): Promise<Ended> {
    return await resultOf(this.#enter(["--net"], command, ["ignore", "pipe", "pipe"]));
  }

  #enter(kinds: readonly string[], command: readonly string[], stdio: ScriptOptions["stdio"]) {
    const enter = ["nsenter", "--target", String(this.#first.pid), ...kinds, "--no-fork"];
    const parent = ["sh", "-c", PARENT, "sh"];
    return startCommand([...enter, ...parent, ...command], { stdio, detached: true });
  }

  /** SIGKILL to all its processes, in one moment; settles when all of them are gone. */
  async kill(): Promise<void> {
    sendSignal(this.#first, "SIGKILL");
    this.#creator.stdin?.destroy();
    await this.#ended;
  }
}

/** Why it is not ready; undefined when it is. */
async function readiness(
  creator: ChildProcess,
  ended: Promise<unknown>,
): Promise<string | undefined> {
  let problem = "";
  creator.stdin?.on("error", () => {}); // it has ended before
  creator.stderr?.on("data", (chunk: Buffer) => (problem += chunk.toString()));
  const isReady = new Promise((resolve) => creator.stdout?.once("data", () => resolve(true)));
  const first = await Promise.race([isReady, ended]);
  if (first === true) return undefined;
  return problem.trim() || (first instanceof Error ? first.message : "unshare ended");
}

async function resultOf(child: ChildProcess): Promise<Ended> {
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}
