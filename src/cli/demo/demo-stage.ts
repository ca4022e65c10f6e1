/**
 * The demo's folders and processes. Whatever was started or mounted is known here, so that it can
 * all be taken away again at any moment.
 */
import { ControlClient } from "../../agent/control-client.ts";
import { InstanceRegistry } from "../../agent/instance-registry.ts";
import type { InstanceStatus, ProcessRole } from "../../agent/instance-status.ts";
import { StateDirectory, sharedMemoryDirectory } from "../../agent/state-directory.ts";
import { StandinError } from "../../base/errors.ts";
import type { Clock } from "../../platform/clock.ts";
import {
  makeFolder,
  makePrivateFolder,
  makeTemporaryFolder,
  removeTree,
} from "../../platform/files.ts";
import { JsonLineParser } from "../../platform/json-lines.ts";
import { readMountTable } from "../../platform/mount-table.ts";
import {
  type ChildProcess,
  identify,
  isAlive,
  type ProcessIdentity,
  sendSignal,
  startScript,
  startSelf,
} from "../../platform/processes.ts";
import { unmount } from "../../platform/unmount.ts";
import type { ApplicationConfig } from "./application.ts";

export class DemoStage {
  readonly folder: string;
  readonly live: string;
  readonly copy: string;
  readonly state: StateDirectory;
  readonly #clock: Clock;
  readonly #processes = new Map<string, ProcessIdentity>();
  readonly #events: Record<string, unknown>[] = [];
  #client: ControlClient | undefined;
  #agentError = "";

  constructor(clock: Clock) {
    this.#clock = clock;
    this.folder = makeTemporaryFolder("standin-demo-");
    this.live = `${this.folder}/live`;
    this.copy = `${this.folder}/copy`;
    for (const path of [this.live, this.copy, `${this.live}/mail`]) makeFolder(path);
    makePrivateFolder(`${this.folder}/notes`);
    this.state = StateDirectory.create(`${this.folder}/state`);
  }

  notesOf(application: string): string {
    return `${this.folder}/notes/${application}`;
  }

  /** Starts one of the applications; the child, for those that end by themselves. */
  startApplication(name: "database" | "mail", config: Omit<ApplicationConfig, "folder" | "notes">) {
    const child = startScript({
      base: import.meta.url,
      script: name === "mail" ? "./mail-process.ts" : "./database-process.ts",
      config: {
        ...config,
        folder: name === "mail" ? `${this.live}/mail` : this.live,
        notes: this.notesOf(name),
      },
      stdio: ["ignore", "ignore", "inherit"],
      detached: true,
    });
    this.#remember(name, child);
    return child;
  }

  startAgent(): void {
    const args = ["local", this.live, this.copy, "--state", this.state.path, "--json"];
    const child = startSelf(args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
    const parser = new JsonLineParser((event) => {
      if (event["event"] !== "status") this.#events.push(event);
    });
    child.stdout?.on("data", (chunk: Buffer) => parser.push(chunk));
    child.stderr?.on("data", (chunk: Buffer) => {
      this.#agentError = `${this.#agentError}${chunk.toString()}`.slice(0, 2000);
    });
    this.#remember("agent", child);
  }

  #remember(name: string, child: ChildProcess): void {
    const process = identify(child.pid ?? 0);
    if (process !== undefined) this.#processes.set(name, process);
  }

  isRunning(name: string): boolean {
    const process = this.#processes.get(name);
    return process !== undefined && isAlive(process);
  }

  /** Waits for an event that the agent prints. @throws {StandinError} `DEMO_FAILED` */
  async waitFor(event: string, timeoutMs: number, signal: AbortSignal) {
    const deadline = this.#clock.monotonicMs() + timeoutMs;
    for (;;) {
      signal.throwIfAborted();
      const found = this.#events.find((candidate) => candidate["event"] === event);
      if (found !== undefined) return found;
      if (!this.isRunning("agent")) throw demoFailed(this.#agentError.trim() || "the agent ended");
      if (this.#clock.monotonicMs() > deadline) throw demoFailed(`no "${event}" in time`);
      await this.#clock.sleep(20, signal);
    }
  }

  async client(): Promise<ControlClient> {
    this.#client ??= await ControlClient.connect(this.state.controlSocket);
    return this.#client;
  }

  async status(): Promise<InstanceStatus> {
    const client = await this.client();
    const status = (await client.request({ command: "status" })) as InstanceStatus;
    for (const { role, pid } of status.processes) {
      const process = pid === null ? undefined : identify(pid);
      if (process !== undefined) this.#processes.set(role, process);
    }
    return status;
  }

  /** SIGKILL: no chance to say or save anything. */
  kill(names: readonly (ProcessRole | "database" | "mail")[]): void {
    for (const name of names) {
      const process = this.#processes.get(name);
      if (process !== undefined) sendSignal(process, "SIGKILL");
    }
  }

  async waitUntilDead(names: readonly string[]): Promise<void> {
    while (names.some((name) => this.isRunning(name))) await this.#clock.sleep(5);
  }

  /** Takes a mount away whose server is dead: what a reboot does to a server that was lost. */
  async unmountDead(): Promise<void> {
    while (readMountTable().some(({ path }) => path === this.live)) {
      if (!(await unmount(this.live, { lazy: true }))) return;
    }
  }

  /** Leaves nothing: processes by their pids, mount, shared memory, registry, and the folder. */
  async clear(keepFolder: boolean): Promise<void> {
    this.#client?.close();
    this.#rememberRecorded();
    const names = [...this.#processes.keys()];
    // The agent first: it would start the others again.
    this.kill(["agent", "database", "mail", "applier", "keeper", "engine"]);
    await Promise.race([this.waitUntilDead(names), this.#clock.sleep(5000)]);
    await this.unmountDead();
    removeTree(sharedMemoryDirectory(this.state.id));
    new InstanceRegistry().remove(this.state.id);
    if (!keepFolder) removeTree(this.folder);
  }

  /** Those that were started again since the last status. */
  #rememberRecorded(): void {
    const record = this.state.loadRecord();
    if (record === undefined) return;
    for (const role of ["agent", "keeper", "engine", "applier"] as const) {
      const process = record[role];
      if (process !== null) this.#processes.set(role, process);
    }
  }
}

export function demoFailed(message: string): StandinError {
  return new StandinError("DEMO_FAILED", `the demo failed: ${message}`, {
    hint: "Run it with --keep, and look at the state folder it names.",
  });
}
