/**
 * The demo's two servers and what lies between them. Whatever was made is known here, so that it
 * can all be taken away again at any moment.
 */
import { StandinError } from "../../base/errors.ts";
import type { Clock } from "../../platform/clock.ts";
import { ContainerNetwork } from "../../platform/container-network.ts";
import {
  makeFolder,
  makeTemporaryFolder,
  removeTree,
  writeSmallFile,
} from "../../platform/files.ts";
import { scriptCommand } from "../../platform/processes.ts";
import type { ApplicationConfig } from "./application.ts";
import { type Application, APPLICATIONS, DemoServer, demoFailed } from "./demo-server.ts";

const SCRIPTS = { database: "./database-process.ts", mail: "./mail-process.ts" } as const;
/** Fast enough to be a load, slow enough to leave the machine to its other users. */
const PAUSE_MS = { database: 2, mail: 4 } as const;
const PORT = 7400;
/** For documentation (RFC 5737): nobody is there, wherever a packet should stray. */
const ADDRESSES = { alpha: "192.0.2.1", beta: "192.0.2.2" } as const;
const LOOPBACK = { alpha: "127.0.0.2", beta: "127.0.0.3" } as const;

const FLUSH_SECONDS = 60;
/** Name of the demo's job. */
export const JOB = "shop";

type ServerName = keyof typeof LOOPBACK;

export class DemoStage {
  readonly folder: string;
  /** Where both servers see their disk. */
  readonly path: string;
  readonly #program: string;
  readonly #clock: Clock;
  readonly #servers = new Map<ServerName, DemoServer>();
  #network: ContainerNetwork | undefined;

  /** `program`: the file that is run as `standin`. */
  constructor(program: string, clock: Clock) {
    this.#program = program;
    this.#clock = clock;
    this.folder = makeTemporaryFolder("standin-demo-");
    this.path = `${this.folder}/server`;
    makeFolder(this.path);
    writeSmallFile(
      this.#startScript,
      startScript((name) => this.#command(name, null)),
    );
  }

  /** Why there is no network, and the servers share ours; undefined when there is one. */
  async makeNetwork(): Promise<string | undefined> {
    try {
      this.#network = await ContainerNetwork.start();
      return undefined;
    } catch (error) {
      if (error instanceof StandinError) return error.message;
      throw error;
    }
  }

  async #makeServer(name: ServerName): Promise<DemoServer> {
    const server = await DemoServer.start({
      name,
      home: `${this.folder}/${name}`,
      path: this.path,
      hasNetwork: this.#network !== undefined,
      program: this.#program,
      clock: this.#clock,
    });
    this.#servers.set(name, server);
    await this.#network?.connect(server.container, ADDRESSES[name]);
    return server;
  }

  /** Both servers, and an agent on each; they are one fleet. @throws {StandinError} */
  async makeFleet(signal: AbortSignal): Promise<void> {
    const [alpha, beta] = [await this.#makeServer("alpha"), await this.#makeServer("beta")];
    await alpha.startAgent(signal, "--listen", this.addressOf("alpha"), "--name", "alpha");
    const { token } = await alpha.standin("invite");
    const own = ["--listen", this.addressOf("beta"), "--name", "beta"];
    await beta.standin("join", String(token), ...own);
    await beta.startAgent(signal);
  }

  /** As an operator does it on alpha; `onFailureSeconds` null: no promotion by itself. */
  async protect(onFailureSeconds: number | null): Promise<void> {
    const onFailure = onFailureSeconds === null ? [] : ["--on-failure", String(onFailureSeconds)];
    const options = ["--name", JOB, ...onFailure, "--start-command", this.startCommand];
    await this.server("alpha").standin("protect", this.live, ...options, "--to", "beta");
  }

  /** Settles when all that was committed before is in the replica. */
  async flush(): Promise<void> {
    await this.server("alpha").standin("flush", JOB, "--timeout", String(FLUSH_SECONDS));
  }

  server(name: ServerName): DemoServer {
    const found = this.#servers.get(name);
    if (found === undefined) throw demoFailed(`there is no server ${name}`);
    return found;
  }

  /** Where its agent listens. */
  addressOf(name: ServerName): string {
    return `${(this.#network === undefined ? LOOPBACK : ADDRESSES)[name]}:${PORT}`;
  }

  /** The folder that is protected, as a server sees it. */
  get live(): string {
    return `${this.path}/shop`;
  }

  get #startScript(): string {
    return `${this.folder}/start-applications`;
  }

  /** The command that starts the applications, on whichever server. */
  get startCommand(): string {
    return `sh ${this.#startScript}`;
  }

  /** Makes the folder on alpha, and runs each application up to a number. */
  async prepareData(lastNumbers: Readonly<Record<Application, number>>): Promise<void> {
    const alpha = this.server("alpha");
    await alpha.run("mkdir", "-p", `${this.live}/mail`);
    await Promise.all(
      APPLICATIONS.map((name) => alpha.run(...this.#command(name, lastNumbers[name]))),
    );
  }

  #command(name: Application, lastNumber: number | null): string[] {
    const config: ApplicationConfig = {
      folder: name === "mail" ? `${this.live}/mail` : this.live,
      notes: `${this.path}/notes/${name}`,
      lastNumber,
      pauseMs: lastNumber === null ? PAUSE_MS[name] : 0,
    };
    return scriptCommand({ base: import.meta.url, script: SCRIPTS[name], config });
  }

  /**
   * The server is lost in one moment: its cable is out, then every process of it is dead. When that
   * was, by the wall clock.
   */
  async lose(server: DemoServer): Promise<number> {
    const atMs = this.#clock.wallMs();
    await this.#network?.cut(server.container);
    await server.container.kill();
    return atMs;
  }

  /** Ends everything that runs. */
  async kill(): Promise<void> {
    const servers = [...this.#servers.values()];
    await Promise.all(servers.map(({ container }) => container.kill()));
    await this.#network?.remove();
  }

  /** Leaves nothing: with the servers go their mounts, memory and network. */
  async clear(keepsFolder: boolean): Promise<void> {
    await this.kill();
    if (!keepsFolder) removeTree(this.folder);
  }
}

/** Output goes to a file: whoever started the applications does not wait for them. */
function startScript(commandOf: (application: Application) => readonly string[]): string {
  const lines = APPLICATIONS.map((name) => {
    const words = commandOf(name).map((word) => `'${word.replaceAll("'", `'\\''`)}'`);
    return `${words.join(" ")} </dev/null >/dev/null 2>&1 &\n`;
  });
  return lines.join("");
}
